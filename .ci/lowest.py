"""Print the lowest version that pyproject.toml allows of every dependency, one a line, as pip's constraints.

python .ci/lowest.py > lowest.txt && pip install -c lowest.txt -e ".[$(python .ci/lowest.py --extras)]"

The extras are all but docs: the documentation is built with the newest versions only.
"""

import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FLOOR = re.compile(r"([\w.-]+)>=([\w.]+)(?:,<[\w.]+)?")


def lowest(pyproject: str) -> list[str]:
    """Constraints `name==version`, sorted.

    Args:
        pyproject: the text of pyproject.toml.
    """
    return sorted(f"{name}=={floor}" for name, floor in floors(tomllib.loads(pyproject)["project"]).items())


def floors(project: Mapping[str, Any]) -> dict[str, str]:
    """The lowest versions of the dependencies and of what every extra brings, by name.

    Args:
        project: the table of that name.

    Raises:
        ValueError: a requirement has no floor, or two different ones.
    """
    found: dict[str, str] = {}
    extras = project["optional-dependencies"].values()
    for requirement in [*project["dependencies"], *(one for extra in extras for one in extra)]:
        if requirement.startswith(f"{project['name']}["):
            continue
        match = _FLOOR.fullmatch(requirement)
        if match is None:
            raise ValueError(f"'{requirement}' must be of the form NAME>=VERSION or NAME>=VERSION,<VERSION")
        name, floor = match.groups()
        if found.setdefault(name, floor) != floor:
            raise ValueError(f"{name} has two floors: {found[name]} and {floor}")
    return found


def tested_extras(project: Mapping[str, Any]) -> str:
    """The extras that are tested at their lowest versions, with commas between them.

    Args:
        project: the table of that name.
    """
    names = set(project["optional-dependencies"]) - {"all", "docs"}
    return ",".join(sorted(name.replace("_", "-") for name in names))  # as pip compares them


if __name__ == "__main__":
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    if sys.argv[1:] == ["--extras"]:
        print(tested_extras(tomllib.loads(text)["project"]))
    else:
        print("\n".join(lowest(text)))

"""Print the lowest version that pyproject.toml allows of every dependency, one a line, as pip's constraints.

python .ci/lowest.py > lowest.txt && pip install -c lowest.txt -e ".[all]"
"""

import re
import sys
import tomllib
from pathlib import Path

_FLOOR = re.compile(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)(?:,<[\w.]+)?")


def lowest(pyproject: str) -> list[str]:
    """Constraints `name==version` for the dependencies and every extra.

    Args:
        pyproject: the text of pyproject.toml.

    Returns:
        Sorted lines.

    Raises:
        ValueError: a requirement has no floor, or two different ones.
    """
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"].values()
    floors: dict[str, str] = {}
    for requirement in [*project["dependencies"], *(one for extra in extras for one in extra)]:
        if requirement.startswith(f"{project['name']}["):
            continue
        found = _FLOOR.fullmatch(requirement)
        if found is None:
            raise ValueError(f"'{requirement}' must be of the form NAME>=VERSION or NAME>=VERSION,<VERSION")
        name, floor = found.groups()
        if floors.setdefault(name, floor) != floor:
            raise ValueError(f"{name} has two floors: {floors[name]} and {floor}")
    return sorted(f"{name}=={floor}" for name, floor in floors.items())


if __name__ == "__main__":
    sys.stdout.write("\n".join(lowest((Path(__file__).parents[1] / "pyproject.toml").read_text())) + "\n")

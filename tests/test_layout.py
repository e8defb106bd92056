"""The layout of the project is what CONTRIBUTING.md and pyproject.toml say it is."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.tracked import tracked

ROOT = Path(__file__).parents[1]
MOST_LINES = 250
ROOMS = ("atc", "reducers", "datamodules", "hydra_plugins")


def modules() -> list[str]:
    """All modules and packages directly in atc, dotted."""
    names = {path.relative_to(ROOT / "atc").parts[0].removesuffix(".py") for path in tracked("atc/*.py")}
    return sorted(f"atc.{name}" for name in names - {"__init__", "assets"})


@pytest.mark.parametrize("room", ROOMS)
def test_source_files_are_short(room: str) -> None:
    sources = tracked(*(f"{room}/*.{ending}" for ending in ("py", "cpp", "h", "cu", "js")))
    long = {str(path): count for path in sources if (count := len(path.read_text().splitlines())) > MOST_LINES}
    assert sources
    assert not long


def test_contributing_lists_every_room() -> None:
    rooms = re.findall(r"^\|(.*?)\|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    listed = {name for room in rooms for name in re.findall(r"`([\w/.]+)`", room)}
    assert {name.replace(".", "/") for name in modules()} <= {name.removesuffix(".py") for name in listed}
    assert [name for name in listed if not (ROOT / name).exists()] == []


def contracts() -> list[dict[str, Any]]:
    """Those of import-linter."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert found
    return list(found)


def layers() -> list[set[str]]:
    (found,) = [contract["layers"] for contract in contracts() if contract["type"] == "layers"]
    return [{name.strip() for name in layer.split("|")} for layer in found]


def test_every_room_has_its_place_in_the_order_of_imports() -> None:
    placed = set().union(*layers())
    assert placed == {*modules(), *(room for room in ROOMS if room != "atc")}


def test_contributing_has_the_rooms_in_the_order_of_imports() -> None:
    place = {name.replace(".", "/"): number for number, layer in enumerate(layers()) for name in layer}
    rooms = re.findall(r"^\|(.*?)\|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    listed = [name.removesuffix(".py") for room in rooms for name in re.findall(r"`([\w/.]+)`", room)]
    order = [place[name] for name in listed if name in place]
    assert len(order) == len(place)
    assert order == sorted(order)


def test_a_reducer_may_import_two_rooms_only() -> None:
    (forbidden,) = [set(one["forbidden_modules"]) for one in contracts() if one.get("source_modules") == ["reducers"]]
    allowed = {*modules(), "datamodules", "hydra_plugins"} - forbidden
    assert allowed == {"atc.core", "atc.ops"}


def test_the_reading_tour_names_six_files() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## A reading tour of six files")[2].partition("\n## ")[0]
    files = re.findall(r"^\d\. `([\w/.]+)`", text, re.M)
    assert len(files) == 6
    assert all((ROOT / name).is_file() for name in files)


def outside_tests() -> list[Path]:
    return [path.relative_to(ROOT) for path in tracked("*.py") if path.relative_to(ROOT).parts[0] != "tests"]


def test_types_are_checked_everywhere_but_in_tests() -> None:
    checked = [Path(name) for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]]
    assert [path for path in outside_tests() if not {path, *path.parents} & set(checked)] == []


def test_what_is_ignored_has_a_code_and_a_reason() -> None:
    lines = [(path, line) for path in outside_tests() for line in (ROOT / path).read_text().splitlines()]
    ignored = [(path, line) for path, line in lines if "# type: ignore" in line]
    assert ignored
    assert [one for one in ignored if not re.search(r"# type: ignore\[[\w, -]+\]  # \w", one[1])] == []


def test_docstrings_are_checked_everywhere_but_in_tests() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "D" in lint["select"]
    assert lint["pydocstyle"]["convention"] == "google"
    assert lint["per-file-ignores"] == {"tests/**": ["D"]}
    assert [rule for rule in lint["ignore"] if rule.startswith("D")] == ["D107"]  # tests/test_docstrings.py instead

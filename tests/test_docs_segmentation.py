"""The page on segmentation: its Python runs, its commands compose, what it says of files is so."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from atc.config import build
from atc.config.check import check

PAGE = (Path(__file__).parents[1] / "docs" / "segmentation.md").read_text(encoding="utf-8")
TRAININGS = re.findall(r"^    python train\.py (.*)$", PAGE, re.M)


def test_the_page_runs() -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
    scope: dict = {}
    exec(block, scope)
    assert scope["logits"].shape == (1, 21, 150, 200)
    assert scope["tokens"] == [32, 16, 8]


def test_there_are_commands() -> None:
    assert len(TRAININGS) == 5


@pytest.mark.parametrize("line", TRAININGS)
def test_commands_compose(line: str) -> None:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        check(compose("train", [part for part in shlex.split(line) if not part.startswith("hydra.")]), "train")


def test_the_table_is_of_what_is_kept() -> None:
    kept = (Path(__file__).parents[1] / "benchmarks" / "shapes_segmentation_all.md").read_text(encoding="utf-8")
    found = {(row[0], row[1]): row[2:] for row in map(_cells, kept.splitlines()) if len(row) == 5}
    names = {f"ATC, {linkage}": f"atc_{linkage}" for linkage in ("average", "complete", "single")}
    names |= {"ToMe": "tome", "random pruning": "random"}
    rows = {row[0]: row[1:] for row in map(_cells, PAGE.splitlines()) if len(row) == 7}
    for name, reducer in names.items():
        assert rows[name] == found["off the shelf", reducer] + found["fine tuned", reducer], name


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []

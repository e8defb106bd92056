"""Bold numbers: the best of each place and what a paired test does not tell from it; costs and names beside them."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atc.config import build
from atc.report import layout, report, tables
from atc.report.costs import cost_of
from atc.report.display_names import METHODS
from atc.runs import predictions
from tests.report.kept import both, sweeps
from tests.report.records import Parts, parts, report_of

IMAGES = 400
GRID = [{"reducer": ["tome", "topk", "evit", "random"], "keep_rate": [0.5]}]
WRONG = {"tome": (0, 100), "topk": (0, 104), "evit": (100, 210), "random": (0, 180)}  # images that it has wrong


def run(name: str, *, names: str = "n", kept: bool = True, seed: int = 0, **more: Any) -> Parts:
    """A run with these images wrong, of 400, that cost what it did."""
    right = np.ones(IMAGES, dtype=bool)
    right[slice(*WRONG[name])] = False
    correct = base64.b64encode(np.packbits(right).tobytes()).decode()
    brief = {"predictions": {"off_the_shelf": {"images": IMAGES, "names": names, "correct": correct}}} if kept else {}
    found = parts("mine", right.mean().item(), reducer=name, keep_rate=0.5, seed=seed, **brief, **more)
    speed = {"images_per_second": {"dense": 50.0, "reduced": 100.0}, "measured_at_batch_size": 8}
    found["results"] |= {"gflops": {"dense": 2.5, "reduced": 1.25}, **speed}
    return found


def made(tmp_path: Path, *records: Parts, **section: Any) -> report.Report:
    directory = sweeps(tmp_path, mine=GRID)
    shown = {"of": ["mine"], "settings": ["off_the_shelf"], "rows": ["reducer"], "columns": ["keep_rate"], "best": True}
    return report_of(both(directory, **shown | section), records)


def test_what_a_paired_test_does_not_tell_from_the_best_is_bold(tmp_path: Path) -> None:
    found = made(tmp_path, *(run(name) for name in WRONG))
    marked = {cell.where["reducer"]: cell.best for cell in found.cells if cell.values}
    # 4 images against none: p = 0.125. evit loses 10 images more of 310 that differ; random 80 of 80
    wanted = {"none": None, "tome": "best", "topk": "tied", "evit": "tied", "random": None}
    assert marked == wanted
    text = tables.markdown(found.table)
    assert "| tome | **75.0** |" in text
    assert "| evit | **72.5** |" in text
    assert "| random | 55.0 |" in text
    assert "what a paired test does not tell from it" in text
    assert r"\textbf{75.0}" in tables.latex(found.table)
    assert "75.0 *" in found.text()
    assert ",best," in found.csv().splitlines()[0] + ","


@pytest.mark.parametrize("changed", [{"kept": False}, {"names": "other"}])
def test_without_predictions_of_the_same_images_the_best_alone_is_bold(tmp_path: Path, changed: dict[str, Any]) -> None:
    found = made(tmp_path, run("tome"), *(run(name, **changed) for name in ("topk", "evit", "random")))
    assert [cell.best for cell in found.cells if cell.values and cell.where["reducer"] != "none"] == [
        *("best", None, None, None)
    ]
    assert "runs have no predictions of the same images" in tables.markdown(found.table)


def test_seeds_that_make_no_difference_show_no_deviation(tmp_path: Path) -> None:
    found = made(tmp_path, run("tome"), run("tome", seed=1), best=False)
    assert found.table.texts(("tome",)) == ["75.0"]
    other = run("tome", seed=1)
    other["results"]["off_the_shelf"]["accuracy"] += 0.02
    assert made(tmp_path, run("tome"), other).table.texts(("tome",)) == ["76.0 ± 1.4"]


def test_costs_and_names_beside_the_numbers(tmp_path: Path) -> None:
    cost = ["gflops", "images_per_second", "latency"]
    found = made(tmp_path, *(run(name) for name in WRONG), cost=cost, names="paper")
    text = tables.markdown(found.table)
    assert "| reducer | keep_rate=0.5 | keep_rate=0.5 GFLOPs | keep_rate=0.5 images/s | keep_rate=0.5 ms |" in text
    assert "| ToMe | **75.0** | 1.25 | 100 | 80.0 |" in text
    assert "| no reduction |" in text
    lines = tables.latex(found.table).splitlines()
    assert any(line.startswith(r"\begin{tabular}{lrrrr}") for line in lines)
    assert any(line.startswith(r"Top-K & \textbf{74.0} & 1.25 & 100 & 80.0") for line in lines)
    dense = next(cell for cell in found.cells if cell.where["reducer"] == "none")
    assert (cost_of(dense, "gflops"), cost_of(dense, "latency")) == (2.5, 160.0)
    assert cost_of(found.cells[-1], "gflops") == 1.25


def test_names_of_methods_are_of_methods_and_differ() -> None:
    """A method without a name is shown as one types it."""
    assert set(METHODS) <= set(build.names("reducer"))
    assert len(set(METHODS.values())) == len(METHODS)


def test_damaged_bits_are_no_predictions() -> None:
    assert predictions.correct_of({"images": 9, "names": "n", "correct": "!"}) is None
    assert layout.load("deit_tiny_sample").best is True

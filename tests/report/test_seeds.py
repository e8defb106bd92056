"""Seeds are averaged over, wherever they stand; a layout may show them one by one."""

from pathlib import Path
from typing import Any

import pytest

from atc.report import layout
from tests.report.kept import both, changed, kept, sweeps, text
from tests.report.records import Parts, report_of

__all__ = ["kept"]  # a fixture


@pytest.mark.parametrize("where", ["grid", "command line", "tied"])
def test_a_seed_is_averaged_over_wherever_it_stands(tmp_path: Path, kept: list[Parts], where: str) -> None:
    grid: dict[str, Any] = {"reducer": "topk", "keep_rate": [0.25, 0.5]}
    grids = {
        "grid": [{**grid, "seed": [0, 1]}],
        "command line": [grid],
        "tied": [{**grid, "seed": 0}, {**grid, "seed": 1}],
    }
    directory = sweeps(tmp_path, mine=grids[where])
    records = [
        changed(record, seed, sweep="mine", seed=seed)
        for record in kept
        if record["reducer"] == "topk" and record["keep_rate"] in (0.25, 0.5)
        for seed in (0, 1)
    ]
    for record in records:
        record["results"]["fine_tuned"]["accuracy"] = 0.9 + 0.02 * record["seed"]
    made = report_of(layout.load("mine", directory), records)
    assert text(made, "fine_tuned", "topk") == ["91.0 ± 1.4"] * 2
    assert any("mean ± standard deviation over 2 seeds" in note for note in made.table.notes)
    assert [cell.where for cell in made.cells if "seed" in cell.where] == []


def test_a_layout_can_show_seeds(tmp_path: Path, kept: list[Parts]) -> None:
    directory = sweeps(tmp_path, mine=[{"reducer": "topk", "keep_rate": 0.5, "seed": [0, 1]}])
    topk = next(record for record in kept if (record["reducer"], record["keep_rate"]) == ("topk", 0.5))
    records = [changed(topk, seed, sweep="mine", seed=seed) for seed in (0, 1)]
    shown = both(directory, "seeds", of=["mine"], settings=["fine_tuned"], rows=["seed"])
    made = report_of(shown, records)
    assert made.table.rows == [("0",), ("1",)]
    assert all(len(cell.values) == 1 for cell in made.cells)


def test_a_layout_shows_the_seeds_of_the_command_line(tmp_path: Path, kept: list[Parts]) -> None:
    """Which no grid names: those of the runs that are there."""
    directory = sweeps(tmp_path, mine=[{"reducer": ["topk", "evit"], "keep_rate": 0.5}])
    found = [record for record in kept if record["reducer"] in ("topk", "evit") and record["keep_rate"] == 0.5]
    records = [changed(record, seed, sweep="mine", seed=seed) for record in found for seed in (3, 11)]
    shown = both(directory, "seeds", of=["mine"], settings=["fine_tuned"], rows=["reducer", "seed"])
    made = report_of(shown, records)
    assert made.table.rows == [("topk", "3"), ("topk", "11"), ("evit", "3"), ("evit", "11")]
    assert all(len(cell.values) == 1 for cell in made.cells)


@pytest.mark.parametrize("axis", ["reducer.seed", "+reducer.seed", None])
def test_seeds_of_a_part(tmp_path: Path, kept: list[Parts], axis: str | None) -> None:
    """As of random pruning: no run is dropped because it shares the seed of the training."""
    grid: dict[str, Any] = {"reducer": "random", "keep_rate": 0.5}
    directory = sweeps(tmp_path, mine=[grid if axis is None else {**grid, axis: [0, 1, 2]}])
    first = next(record for record in kept if (record["reducer"], record["keep_rate"]) == ("random", 0.5))
    records = [changed(first, seed, sweep="mine", **{"reducer.seed": seed}) for seed in (0, 1, 2)]
    for record, score in zip(records, (0.8, 0.9, 1.0), strict=True):
        record["results"]["fine_tuned"]["accuracy"] = score
    made = report_of(layout.load("mine", directory), records)
    assert text(made, "fine_tuned", "random") == ["90.0 ± 10.0"]
    (dense,) = (cell for cell in made.cells if cell.where["setting"] == "no_reduction")
    assert len(dense.values) <= 1  # it does not depend on the method's seed


def test_one_seed_out_of_reach_leaves_the_others(tmp_path: Path) -> None:
    outside = "{reducer: topk, seed: 1}"
    directory = sweeps(tmp_path, mine=[{"reducer": "topk", "keep_rate": 0.5, "seed": [0, 1]}])
    file = directory / "mine.yaml"
    file.write_text(file.read_text().replace("- reducer: tome", f"- {outside}\n    - reducer: tome"))
    made = report_of(layout.load("mine", directory), [])
    assert outside in file.read_text()
    assert text(made, "fine_tuned", "topk") == ["not run"]

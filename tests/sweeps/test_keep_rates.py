"""Keep rates of every stage, where a list means several values: written as lists in a list."""

import pytest
from hydra import initialize_config_dir

from atc import visualise
from atc.config import build
from atc.config.combinations import combinations
from atc.grids import grid
from atc.report import layout
from tests.report.records import parts, report_of

RATES = [[0.9, 0.7, 0.5], 0.5]


def test_a_grid_has_a_run_for_each() -> None:
    points = grid.points([{"reducer": ["tome"], "keep_rate": RATES}])
    assert [point["keep_rate"] for point in points] == ["[0.9,0.7,0.5]", "0.5"]
    assert grid.grids_text([{"keep_rate": RATES}]) == "keep_rate=[0.9,0.7,0.5],0.5"


@pytest.mark.parametrize("config", ["visualise", "throughput"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("[[.9,.7,.5]]", [[0.9, 0.7, 0.5]]),
        ("[[.9,.7,.5],0.5]", RATES),
        ("[.9,.7,.5]", [0.9, 0.7, 0.5]),  # three values
    ],
)
def test_a_list_of_lists_is_one_for_each_stage(config: str, given: str, expected: list) -> None:
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        found = [
            choice.cfg.schedule.keep_rate for choice in combinations(config, [f"keep_rate={given}"], ["keep_rate"])
        ]
    assert found == expected
    assert "keep_rate" in visualise.SEVERAL


def test_a_table_has_a_column_for_them(tmp_path) -> None:
    (tmp_path / "own.yaml").write_text(
        "hydra: {sweeper: {grids: [{reducer: [tome], keep_rate: [[0.9, 0.7, 0.5], 0.5]}]}}\n"
        "report: {title: Own, kind: table, settings: [off_the_shelf], rows: [reducer], columns: [keep_rate]}\n"
    )
    runs = [
        parts("own", 0.8, reducer="tome", keep_rate=[0.9, 0.7, 0.5]),
        parts("own", 0.7, reducer="tome", keep_rate=0.5),
    ]
    made = report_of(layout.load("own", tmp_path), runs)
    found = {cell.where["keep_rate"]: cell.mean for cell in made.cells if "keep_rate" in cell.where}
    assert found == {"[0.9,0.7,0.5]": pytest.approx(80), "0.5": pytest.approx(70)}
    made.write(tmp_path / "out")


def test_runs_up_to_a_threshold_or_by_count_stand_at_no_keep_rate(tmp_path) -> None:
    (tmp_path / "own.yaml").write_text(
        "hydra: {sweeper: {grids: [{reducer: tome, keep_rate: 0.5}, {reducer: tome, schedule: constant, t: 8}]}}\n"
        "report: {title: Own, kind: table, settings: [off_the_shelf], rows: [reducer], columns: [keep_rate, t]}\n"
    )
    runs = []
    for score, schedule in ((0.8, {"keep_rate": 0.5}), (0.7, {"t": 8}), (0.6, {"threshold": 0.2})):
        run = parts("own", score, reducer="tome", seed=int(score * 10))
        run["config"] |= {"reducer": "tome", "schedule": schedule}
        runs.append(run)
    made = report_of(layout.load("own", tmp_path), runs)
    found = {
        cell.where.get("keep_rate"): cell.values for cell in made.cells if cell.where["setting"] == "off_the_shelf"
    }
    assert found["0.5"] == [pytest.approx(80)]

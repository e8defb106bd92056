"""Table 3 of the paper from records with values that are made up: every number in its place, and how it looks."""

import csv
import io
from pathlib import Path

import pytest

from atc.grids import grid
from atc.report import layout, report, tables
from tests.report.records import Parts, parts, report_of

NAME = "atc_table3_detection"
RESULT = {"no_reduction": "dense", "off_the_shelf": "off_the_shelf", "fine_tuned": "fine_tuned"}
ABOVE = {"no_reduction": 0.2, "off_the_shelf": -0.4, "fine_tuned": 1.3}  # ours, over the published numbers


def published(where: dict[str, str], setting: str, metric: str) -> float | None:
    """From the file as it is, with the names of the paper."""
    file = layout.sweeps_dir() / "published" / f"{NAME}.csv"
    backbone = where["backbone"].replace("deit", "vit_adapter")
    for row in csv.DictReader(io.StringIO(file.read_text())):
        method = "none" if setting == "no_reduction" else where["reducer"]
        rate = row["keep_rate"] == where["keep_rate"] or setting == "no_reduction"
        if rate and (row["backbone"], row["setting"], row["method"], row["metric"]) == (
            *(backbone, setting, method),
            metric,
        ):
            return float(row["value"])
    return None


def records(said: layout.Layout) -> list[Parts]:
    """A run for each point that can be reached: both metrics of each result, a constant above the published ones."""
    made = []
    for point in said.points:
        if grid.within(point, said.unreachable):
            continue
        evaluated = {"true": list(RESULT), "false": ["fine_tuned"]}
        settings = evaluated.get(point.get("baselines", ""), ["off_the_shelf", "fine_tuned"])
        results = {
            RESULT[one]: {
                metric: ((published(point, one, metric) or 0) + ABOVE[one]) / 100 for metric in ("map_box", "map_mask")
            }
            for one in settings
        }
        columns = {"backbone": point["backbone"], "reducer": point["reducer"], "keep_rate": float(point["keep_rate"])}
        metric = {"name": "map_box", "unit": "points", "scale": 100.0, "higher_is_better": True}
        epochs, milestones = (6, [4]) if point["backbone"] == "deit_tiny" else (4, [3])
        recipe = {"trainer": {"max_epochs": epochs}, "optimizer": {"milestones": milestones}}
        made.append(
            parts(NAME, **columns) | {"score": "map_box", "metric": metric, "results": results, "config": recipe}
        )
    return made


@pytest.fixture(scope="module")
def made() -> report.Report:
    said = layout.load(NAME)
    return report_of(said, records(said))


def test_every_number_is_beside_that_of_the_paper(made: report.Report) -> None:
    measured = [cell for cell in made.cells if cell.state == "measured"]
    assert len(measured) == len([cell for cell in made.cells if cell.state not in ("out of reach", "needs training")])
    assert len([cell for cell in measured if cell.published is not None]) == len(measured)
    for cell in measured:
        assert cell.difference == pytest.approx(ABOVE[cell.where["setting"]]), cell
        assert cell.metric.name == cell.where["metric"]
    out = {(cell.where["reducer"], cell.where["keep_rate"]) for cell in made.cells if cell.state == "out of reach"}
    assert out == {("tome", "0.25")}
    assert not made.table.footnotes


def test_no_number_of_the_paper_is_left_over(made: report.Report) -> None:
    shown = [cell.published for cell in made.cells if cell.published is not None]
    assert sorted(shown) == sorted(float(row["value"]) for row in made.layout.published)
    assert len(shown) == 128


LINES = """
              ┃            ┃              ┃            map_box ┃            map_box ┃            map_box ┃
setting       ┃ backbone   ┃ reducer      ┃     keep_rate=0.25 ┃      keep_rate=0.5 ┃      keep_rate=0.7 ┃
no reduction  │ deit_tiny  │ none         │ 46.0 | 45.8 | +0.2 │ 46.0 | 45.8 | +0.2 │ 46.0 | 45.8 | +0.2 │
off the shelf │ deit_tiny  │ tome         │              – | – │ 39.5 | 39.9 | −0.4 │ 44.9 | 45.3 | −0.4 │
off the shelf │ deit_small │ atc_complete │ 37.9 | 38.3 | −0.4 │ 46.2 | 46.6 | −0.4 │ 47.6 | 48.0 | −0.4 │
off the shelf │ deit_small │ svit         │                    │                    │ needs training | – │
fine tuned    │ deit_tiny  │ atc_average  │ 43.7 | 42.4 | +1.3 │ 46.5 | 45.2 | +1.3 │ 47.1 | 45.8 | +1.3 │
fine tuned    │ deit_small │ svit         │                    │                    │ 49.5 | 48.2 | +1.3 │
"""


def test_it_looks_as_in_the_paper(made: report.Report) -> None:
    """Settings, backbones and methods down; box AP, then mask AP, by keep rates across."""
    text = made.text().splitlines()
    for line in LINES.strip("\n").splitlines():
        assert any(shown.startswith(line) for shown in text), line
    assert [row[0] for row in made.table.rows] == ["no_reduction"] * 2 + ["off_the_shelf"] * 10 + ["fine_tuned"] * 10
    assert [row[1] for row in made.table.rows] == ["deit_tiny", "deit_small"] + 2 * (
        ["deit_tiny"] * 5 + ["deit_small"] * 5
    )
    rates = ["0.25", "0.5", "0.7", "0.9"]
    assert made.table.columns == [(metric, rate) for metric in ("map_box", "map_mask") for rate in rates]
    assert r"\multicolumn{3}{c}{map\_mask keep\_rate=0.9}" in tables.latex(made.table)


def test_published_names_are_texts(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "hydra: {sweeper: {grids: [{reducer: tome}]}}\n"
        "report: {title: T, kind: table, settings: [], rows: [reducer], columns: [], published_names: [deit_tiny]}\n"
    )
    with pytest.raises(ValueError, match=r"report.published_names=.*must be a mapping .*vit_adapter_tiny: deit_tiny"):
        layout.load("mine", tmp_path)

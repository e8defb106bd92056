"""Tables and figures of metrics that fall, or have no percent: Table 2 and Table 3 of the paper, not yet run."""

import shutil
from pathlib import Path

import pytest

from atc.core import Metric
from atc.report import layout
from tests.report.records import parts, report_of

METHODS = "[tome, atc_single, atc_average, atc_complete]"
FID = Metric("fid", higher_is_better=False)


def sweep(directory: Path, name: str, section: str, grid: str) -> layout.Layout:
    (directory / "published").mkdir(exist_ok=True)
    for file in (layout.sweeps_dir() / "published").glob("atc_table*.csv"):
        shutil.copy(file, directory / "published")
    (directory / f"{name}.yaml").write_text(
        f"hydra: {{sweeper: {{grids: [{{{grid}}}]}}}}\nreport: {{title: Table, settings: [off_the_shelf], {section}}}\n"
    )
    return layout.load(name, directory)


def table2(directory: Path, kind: str = "table", more: str = "") -> layout.Layout:
    section = f"kind: {kind}, rows: [reducer], columns: [keep_rate], metric: fid, decimals: 2{more}"
    rates = "[1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]"
    published = ", published: atc_table2_stable_diffusion.csv"
    return sweep(directory, "table2", section + published, f"reducer: {METHODS}, keep_rate: {rates}")


def test_table_2_can_be_laid_out(tmp_path: Path) -> None:
    made = report_of(table2(tmp_path), [])
    reduced = [cell for cell in made.cells if cell.where["reducer"] != "none"]
    assert len(reduced) == 28
    assert {cell.state for cell in made.cells} == {"missing"}
    assert all(cell.published is not None and 30 < cell.published < 40 for cell in reduced)
    assert {cell.metric for cell in made.cells} == {FID}
    made.write(tmp_path / "out")
    text = (tmp_path / "out" / "table2.md").read_text()
    assert "33.80" in text
    assert "3380" not in text


def test_table_3_can_be_laid_out(tmp_path: Path) -> None:
    section = "kind: table, rows: [backbone, reducer], columns: [metric, keep_rate], metric: [map_box, map_mask]"
    published = ", published: atc_table3_detection.csv"
    backbones = "[vit_adapter_tiny, vit_adapter_small, vit_adapter_base]"
    grid = f"backbone: {backbones}, reducer: {METHODS}, keep_rate: [0.25, 0.5, 0.7, 0.9]"
    made = report_of(sweep(tmp_path, "table3", section + published, grid), [])
    assert {cell.state for cell in made.cells} == {"missing"}
    found = {
        tuple(cell.where.get(k) for k in ("backbone", "reducer", "metric", "keep_rate")): cell for cell in made.cells
    }
    assert found["vit_adapter_tiny", "tome", "map_box", "0.5"].published == 39.9
    assert found["vit_adapter_tiny", "tome", "map_mask", "0.5"].published == 36.2
    assert len([cell for cell in made.cells if cell.where["reducer"] != "none"]) == 3 * 4 * 4 * 2
    made.write(tmp_path / "out")
    assert "39.9" in (tmp_path / "out" / "table3.md").read_text()


def fids(**values: float) -> list:
    return [
        parts("table2", reducer=name, keep_rate=0.5)
        | {"score": "fid", "metric": FID._asdict(), "results": {"off_the_shelf": {"fid": value}}}
        for name, value in values.items()
    ]


def test_a_low_fid_is_a_good_one(tmp_path: Path) -> None:
    runs = fids(tome=33.6, atc_single=33.5, atc_average=33.4, atc_complete=33.6)
    made = report_of(table2(tmp_path), runs)
    found = {cell.where["reducer"]: cell.mean for cell in made.cells if cell.where.get("keep_rate") == "0.5"}
    assert found["tome"] == pytest.approx(33.6)  # and not 3360
    ranks = report_of(table2(tmp_path, "ranks"), runs).table
    by_method = {row[0]: ranks.cells[row, ("0.5",)].mean for row in ranks.rows}
    assert by_method == {"atc_average": 1, "atc_single": 2, "tome": 3.5, "atc_complete": 3.5}
    leads = report_of(table2(tmp_path, "differences", ", against: [tome]"), runs).table
    lead = {row[0]: leads.cells[row, ("0.5",)].mean for row in leads.rows}
    assert lead["atc_average"] == pytest.approx(0.2)
    assert any("fid, below the best of tome" in note for note in leads.notes)


def test_figures_say_the_metric(tmp_path: Path) -> None:
    runs = fids(tome=33.6, atc_single=33.5, atc_average=33.4, atc_complete=33.6)
    for kind, said in (("curves", ">FID<"), ("differences", "fid, below the best prior method")):
        more = ", against: [tome]" if kind == "differences" else ""
        assert said in report_of(table2(tmp_path, kind, more), runs).svg()
    assert "top-1 accuracy, %" in report_of(layout.load("atc_fig4_deit"), []).svg()


@pytest.mark.parametrize("metric", ["clip_score", "[fid, fid]", "{unit: points}", "[]"])
def test_metrics_that_are_none_are_refused(metric: str, tmp_path: Path) -> None:
    section = f"kind: table, rows: [reducer], columns: [], metric: {metric}"
    with pytest.raises(ValueError, match=r"table.yaml: report.metric: ") as error:
        sweep(tmp_path, "table", section, "reducer: [tome], keep_rate: [0.5]")
    assert "\n" not in str(error.value)

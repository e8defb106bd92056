"""The results kept in benchmarks/: whole records, without paths, in the order that the papers found."""

import json

import pytest

from atc.report import layout, report
from atc.runs import identity
from atc.runs.store import Store

BENCHMARKS = layout.sweeps_dir().parent / "benchmarks"


def test_deit_tiny_on_photographs() -> None:
    text = (BENCHMARKS / "deit_tiny_sample.json").read_text(encoding="utf-8")
    assert "/" not in text.replace("+00:00", "").replace("Linux x86_64", "")
    records = json.loads(text)
    assert all(record["identity"] == identity.of_settings(record["config"]) for record in records)
    made = report.build_report(layout.load("deit_tiny_sample"), Store(BENCHMARKS).records())
    found = {(cell.where["reducer"], cell.where.get("keep_rate")): cell.mean for cell in made.cells if cell.values}
    half, quarter = ({name: found[name, rate] for name, at in found if at == rate} for rate in ("0.5", "0.25"))
    # arXiv 2409.11923: complete and average lead, single linkage chains at low keep rates.
    assert min(half["atc_complete"], half["atc_average"]) > max(half["tome"], half["atc_single"]) + 2
    assert quarter["atc_single"] < min(quarter["atc_complete"], quarter["atc_average"]) - 10


def test_ablations_of_atc() -> None:
    """Every cell, each run in one cell only; sizes count in attention."""
    made = report.build_report(layout.load("deit_tiny_ablations"), Store(BENCHMARKS).records())
    assert {cell.state for cell in made.cells} == {"measured"}
    assert not any("Left out" in note for note in made.table.notes)
    assert all(record["identity"] == identity.of_settings(record["config"]) for record in made.records())
    found = {
        (cell.where.get("reducer.size_bias", "1"), cell.where["keep_rate"]): cell.mean or 0.0
        for cell in made.cells
        if "reducer.size_bias" in cell.where or cell.where.get("reducer.feature") == "keys"
    }
    for rate in ("0.25", "0.5", "0.7"):
        assert found["0", rate] < min(found["0.5", rate], found["0.75", rate])


@pytest.mark.parametrize("name", ["digits_all", "shapes_all"])
def test_small_worlds(name: str) -> None:
    """Every cell, of one state of the code, and said to rank nothing."""
    made = report.build_report(layout.load(name), Store(BENCHMARKS).records())
    assert {cell.state for cell in made.cells} == {"measured", "out of reach"}
    assert {(cell.where["reducer"], cell.where["keep_rate"]) for cell in made.cells if cell.state != "measured"} == {
        ("tome", "0.25")
    }
    (commit,) = {record["commit"] for record in made.records()}
    assert not commit.endswith("-dirty")
    assert all(record["identity"] == identity.of_settings(record["config"]) for record in made.records())
    assert "saturate" in (BENCHMARKS / f"{name}.md").read_text(encoding="utf-8")


def test_detectors_on_drawn_scenes() -> None:
    """Every cell, of one state of the code and one detector; merging costs AP, and fine-tuning gives it back."""
    made = report.build_report(layout.load("shapes_detection_all"), Store(BENCHMARKS).records())
    assert {(cell.where["reducer"], cell.state) for cell in made.cells if cell.state != "measured"} == {
        ("tome", "out of reach"),
        ("svit", "needs training"),
    }
    assert not any(cell.remarks for cell in made.cells)
    assert len({record["commit"] for record in made.records()}) == 1
    assert len({record["config"]["task"]["checkpoint"] for record in made.records()}) == 1
    assert all(record["identity"] == identity.of_settings(record["config"]) for record in made.records())
    for metric in ("map_box", "map_mask"):
        found = {
            (cell.where["setting"], cell.where["reducer"], cell.where.get("keep_rate")): cell.mean or 0.0
            for cell in made.cells
            if cell.where["metric"] == metric
        }
        dense = found["no_reduction", "none", None]
        assert dense > 60
        for method in ("atc_single", "atc_average", "atc_complete"):
            off = {rate: found["off_the_shelf", method, rate] for rate in ("0.25", "0.5", "0.7", "0.9")}
            assert off["0.25"] + 1 < off["0.5"] < off["0.7"] + 1 < dense + 2
            assert found["fine_tuned", method, "0.25"] > off["0.25"] + 0.5
        assert min(found["fine_tuned", "svit", rate] for rate in ("0.5", "0.7")) > dense - 1
        # What random pruning drops goes on through the pyramid by itself.
        assert found["off_the_shelf", "random", "0.25"] > dense - 2
    assert "ranks nothing" in (BENCHMARKS / "shapes_detection_all.md").read_text(encoding="utf-8")


def test_segmentation_of_drawn_scenes() -> None:
    """Off the shelf, ATC keeps most where tokens are few; fine-tuning helps all methods, and those that prune most."""
    made = report.build_report(layout.load("shapes_segmentation_all"), Store(BENCHMARKS).records())
    assert {cell.state for cell in made.cells} == {"measured"}
    (commit,) = {record["commit"] for record in made.records()}
    assert not commit.endswith("-dirty")
    assert all(record["identity"] == identity.of_settings(record["config"]) for record in made.records())
    found = {
        (cell.where["setting"], cell.where["reducer"], cell.where.get("keep_rate")): cell.mean for cell in made.cells
    }
    linkages = [found["off_the_shelf", f"atc_{linkage}", "0.5"] for linkage in ("single", "complete", "average")]
    others = ("tome", "kmedoids", "dpc_knn", "evit", "topk", "random")
    assert min(linkages) > max(found["off_the_shelf", name, "0.5"] for name in others) + 15
    for name in others:
        assert found["fine_tuned", name, "0.5"] > found["off_the_shelf", name, "0.5"]
    assert found["fine_tuned", "topk", "0.5"] > found["off_the_shelf", "topk", "0.5"] + 25

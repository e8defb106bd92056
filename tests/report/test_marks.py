"""Cells that were not measured as the others carry a letter, and a footnote says what differs."""

import copy
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from atc import constants
from atc.report import layout, report
from atc.runs.record import Record
from atc.runs.store import Store
from datamodules.io import pictures
from tests.report.kept import both, changed, kept, sweeps, text
from tests.report.records import Parts, report_of

__all__ = ["kept"]  # a fixture


def test_what_was_kept_has_no_marks(kept: list[Parts]) -> None:
    made = report_of(layout.load("digits_all"), kept)
    assert made.table.letters == {}


def test_two_sweeps_of_other_settings(tmp_path: Path, kept: list[Parts]) -> None:
    """Each cell has one group of runs; those of the second sweep differ from what most have."""
    directory = sweeps(tmp_path, mine=[{"reducer": ["topk", "evit"], "keep_rate": [0.6]}])
    mine = [
        changed(record, sweep="mine", **{"optimizer.lr": 5e-4, "trainer.max_epochs": 3, "schedule.keep_rate": 0.6})
        | {"keep_rate": 0.6}
        for record in kept
        if record["reducer"] in ("topk", "evit") and record["keep_rate"] == 0.5
    ]
    made = report_of(both(directory, of=["digits_all", "mine"]), [*kept, *mine])
    place = made.table.columns.index(("0.6",))
    assert text(made, "fine_tuned", "topk")[place].endswith(" [a]")
    assert text(made, "off_the_shelf", "evit")[place].endswith(" [a]")
    others = [cell for row in made.table.rows for i, cell in enumerate(text(made, *row)) if i != place]
    assert not any("[" in cell for cell in others)
    said = "[a] optimizer.lr=0.0005 instead of 0.0001, trainer.max_epochs=3 instead of 2"
    assert said in made.table.notes
    assert said in made.text().replace("\n  ", " ")
    lines = list(csv.DictReader(io.StringIO(made.csv())))
    assert {line["remarks"] for line in lines if line["keep_rate"] == "0.6" and line["ours"]} == {said[4:]}


def test_in_one_sweep_and_in_a_method(kept: list[Parts]) -> None:
    """A cell that was run anew with another rate, and one whose method was."""
    records = []
    for record in kept:
        place = (record["reducer"], record["keep_rate"])
        if place == ("topk", 0.7):
            record = changed(record, **{"optimizer.lr": 3e-4})
        if place == ("tome", 0.9):
            record = changed(record, **{"reducer.as_released": True})
        records.append(record)
    made = report_of(layout.load("digits_all"), records)
    assert [("[" in cell) for cell in text(made, "fine_tuned", "topk")] == [False, False, True, False]
    assert [("[" in cell) for cell in text(made, "fine_tuned", "tome")] == [False, False, False, True]
    assert {note[4:] for note in made.table.notes if note.startswith("[")} == {
        "optimizer.lr=0.0003 instead of 0.0001",
        "reducer.as_released=true instead of false",
    }


def test_what_a_whole_sweep_was_given_is_usual(kept: list[Parts]) -> None:
    made = report_of(layout.load("digits_all"), [changed(e, **{"trainer.precision": "bf16-mixed"}) for e in kept])
    assert made.table.letters == {}


def test_what_a_backbone_and_a_data_set_bring_along_is_usual(kept: list[Parts]) -> None:
    """conf/experiment/by_backbone/ and the task of multi-label data: no mark; another rate: one."""
    from atc.report import expected

    def run(sweep: str, **where: str) -> Parts:
        chosen = {"experiment": "mae_finetune", "optimizer": "adamw", "trainer": "default"} | where
        settings = expected.settings(Record.read({**chosen, "config": {"optimizer": {}}}), {})
        assert settings is not None
        config: dict[str, Any] = {"optimizer": {}}
        for key, value in settings.items():
            if key != "task":
                node = config
                *parents, leaf = key.split(".")
                for part in parents:
                    node = node.setdefault(part, {})
                node[leaf] = value
        return {
            **chosen,
            "identity": "-".join([sweep, *where.values()]),
            "sweep": sweep,
            "status": "finished",
            "seed": 0,
            "t": 16,
            "score": settings["score"],
            "task": settings["task"],
            "results": {name: {settings["score"]: 0.5} for name in ("dense", "off_the_shelf", "fine_tuned")},
            "config": config,
        }

    table1 = layout.load("atc_table1_mae")
    runs = [
        run(table1.name, backbone=backbone, reducer=reducer, schedule="constant", datamodule="imagenet") | {"t": t}
        for backbone, t in (("mae_base", 16), ("mae_large", 8), ("mae_huge", 7))
        for reducer in ("tome", "atc_single")
    ]
    rates = {record["config"]["optimizer"]["lr"] for record in runs}
    assert len(rates) > 1
    assert report_of(table1, runs).table.letters == {}
    runs[0] = changed(runs[0], **{"optimizer.lr": 0.3})
    (said,) = report_of(table1, runs).table.letters
    assert said.startswith("optimizer.lr=0.3 instead of ")


def test_fewer_images(kept: list[Parts]) -> None:
    """What was measured on a part of the images is marked; where all was, the table says so."""
    records = copy.deepcopy(kept)
    for record in records:
        few = record["reducer"] == "evit"
        for result in ("dense", "off_the_shelf", "fine_tuned"):
            if result in record["results"]:
                record["results"][result] |= {"images": 288 if few else 450, "images_of": 450}
    made = report_of(layout.load("digits_all"), records)
    assert all(cell.endswith(" [a]") for cell in text(made, "fine_tuned", "evit"))
    assert not any("[" in cell for cell in text(made, "fine_tuned", "topk"))
    assert "[a] measured on 288 of 450 images" in made.table.notes
    for record in records:
        for result in record["results"].values():
            if isinstance(result, dict) and "images" in result:
                result["images"] = 90
    made = report_of(layout.load("digits_all"), records)
    assert "Every number is from a part of the images: 90 of 450." in made.table.notes


def test_code_of_another_day(kept: list[Parts]) -> None:
    records = copy.deepcopy(kept)
    for number, record in enumerate(records):
        record["code"] = {"reducer": "a" * 12}
        record["finished"] = f"2026-12-01T12:{number:02}:00+00:00"
    first = next(record for record in records if record["reducer"] == "tome")
    first["code"] = {"reducer": "b" * 12}
    made = report_of(layout.load("digits_all"), records)
    assert "[a] measured with earlier code of reducer tome" in made.table.notes
    assert sum("[a]" in cell for row in made.table.rows for cell in text(made, *row)) == 2  # off the shelf and tuned
    records += [changed(first, seed=1) | {"finished": "2026-12-02T12:00:00+00:00", "code": {"reducer": "a" * 12}}]
    made = report_of(layout.load("digits_all"), records)
    assert sum("[a]" in cell for row in made.table.rows for cell in text(made, *row)) == 2  # one seed of two
    records.pop()
    del first["code"]  # of a version that did not record it
    assert report_of(layout.load("digits_all"), records).table.letters == {}


def test_pictures_read_by_an_earlier_reader(kept: list[Parts], monkeypatch: pytest.MonkeyPatch) -> None:
    """A record without the version is of the first; data sets without pictures have none."""
    assert constants.constant("datamodules.digits.Digits", "READER") is None
    assert constants.constant("datamodules.folder.Folder", "READER") == pictures.READER
    assert constants.sets_none("datamodules.public.CIFAR100", "reader")  # whose pictures are in no files
    assert not constants.sets_none("datamodules.public.Flowers102", "reader")
    records = copy.deepcopy(kept)
    monkeypatch.setattr(constants, "sets_none", lambda target, name: False)
    monkeypatch.setattr(constants, "constant", lambda target, name: 3 if target.startswith("datamodules.") else None)
    for record in records:
        record["reader"] = 2 if record["reducer"] == "evit" else 3
    del next(record for record in records if record["reducer"] == "tome")["reader"]
    made = report_of(layout.load("digits_all"), records)
    assert set(made.table.letters) == {
        "pictures read as by version 2, not 3 (CHANGELOG.md)",
        "pictures read as by version 1, not 3 (CHANGELOG.md)",
    }
    assert all("[" in cell for cell in text(made, "fine_tuned", "evit"))
    topk = next(record for record in records if record["reducer"] == "topk")
    made = report_of(layout.load("digits_all"), [changed(topk, seed=1) | {"reader": 2}, *records])
    assert sum("[" in cell for cell in text(made, "fine_tuned", "topk")) == 1  # one seed of two
    for record in records:
        record["reader"] = 2
    made = report_of(layout.load("digits_all"), records)
    assert made.table.letters == {}
    assert "All pictures were read as by version 2, not 3 (CHANGELOG.md)." in made.table.notes
    for record in records:
        record["reader"] = None
    made = report_of(layout.load("digits_all"), records)
    assert not any("pictures" in note for note in made.table.notes)


def test_tf32_is_marked_where_it_differs(kept: list[Parts]) -> None:
    records = copy.deepcopy(kept)
    for record in records:
        record["tf32"] = {"matrix_products": False, "convolutions": record["reducer"] == "evit"}
    made = report_of(layout.load("digits_all"), records)
    assert set(made.table.letters) == {"computed with TF32 convolutions instead of no TF32"}
    assert all("[" in cell for cell in text(made, "fine_tuned", "evit"))
    for record in records:
        if record["reducer"] == "evit":
            del record["tf32"]  # of a version that did not record it
    assert report_of(layout.load("digits_all"), records).table.letters == {}


def test_an_axis_that_stands_nowhere_becomes_rows(tmp_path: Path, kept: list[Parts]) -> None:
    """Else one of its values would be shown, and the others not."""
    directory = sweeps(tmp_path, mine=[{"reducer": "topk", "keep_rate": 0.5, "optimizer.lr": [1e-4, 5e-4]}])
    topk = next(record for record in kept if (record["reducer"], record["keep_rate"]) == ("topk", 0.5))
    records = [changed(topk, n, sweep="mine", **{"optimizer.lr": lr}) for n, lr in enumerate((1e-4, 5e-4))]
    records[1]["results"]["fine_tuned"]["accuracy"] = 0.5
    made = report_of(layout.load("mine", directory), records)
    assert made.table.layout.rows == ("setting", "reducer", "optimizer.lr")
    assert text(made, "fine_tuned", "topk", "0.0005") == ["50.0"]
    assert made.table.letters == {}  # an axis of the sweep is no difference


@pytest.mark.parametrize(
    ("axis", "values", "settings"),
    [
        ("as_released", [False, True], "schedule.as_released"),
        ("blocks", [[4, 7, 10], [3, 6, 9]], "schedule.blocks"),
        ("task.mixup", [None, 0.8], "task.mixup"),
        ("+task.sum_classes", [False, True], "task.sum_classes"),
    ],
)
def test_runs_stand_at_their_own_place(
    tmp_path: Path, kept: list[Parts], axis: str, values: list[Any], settings: str
) -> None:
    """Also by settings that others are made of, by those that are null, and by true and false."""
    directory = sweeps(tmp_path, mine=[{"reducer": "topk", "keep_rate": 0.5, axis: values}])
    topk = next(record for record in kept if (record["reducer"], record["keep_rate"]) == ("topk", 0.5))
    records = [changed(topk, n, sweep="mine", **{settings: value}) for n, value in enumerate(values)]
    for record, score in zip(records, (0.3, 0.6), strict=True):
        record["results"]["fine_tuned"]["accuracy"] = score
        for key in [key for key, value in record["config"]["task"].items() if value is None]:
            del record["config"]["task"][key]
    made = report_of(layout.load("mine", directory), records)
    found = [cell.values for cell in made.cells if cell.where["setting"] == "fine_tuned"]
    assert found == [[pytest.approx(30.0)], [pytest.approx(60.0)]]
    assert not any(cell.other_settings for cell in made.cells)


def test_ten_thousand_records(tmp_path: Path, kept: list[Parts]) -> None:
    """Thousands of records of one sweep take seconds, and a store is read once."""
    import time

    many = [record | {"identity": f"{number:012x}"} for number, record in enumerate(kept * 280)]
    (tmp_path / "many.json").write_text(json.dumps(many))
    store = Store(tmp_path)
    begin = time.process_time()
    made = report.build_report(layout.load("digits_all"), store.records())
    assert time.process_time() - begin < 30
    assert len(store.records()) == len(many)
    assert all(len(cell.values) <= 1 for cell in made.cells)


def test_the_layouts_there_are_tell_their_results_apart() -> None:
    for name in layout.names():
        shown = layout.load(name)
        if shown.kind in ("table", "curves") and not shown.over_cost:  # over costs, the table is of pairs
            assert set(report_of(shown, []).table.layout.rows) <= {"setting", "reducer", *shown.rows, *shown.columns}

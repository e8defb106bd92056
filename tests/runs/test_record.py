"""Records of runs: as a class, as results.json, as the summary."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from atc.core.metric import Metric
from atc.files import json_text
from atc.runs import record_file, wellformed
from atc.runs.record import Record
from atc.runs.record_file import RecordFile
from atc.runs.store import Store
from atc.runs.summary import summary_text
from tests.report.records import parts

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FID = {"name": "fid", "unit": "", "scale": 1.0, "higher_is_better": False}

PARTS = {
    "reducer": "tome",
    "schedule": "stages: keep_rate=0.5",
    "reduces": True,
    "backbone": "digits",
    "datamodule": "digits",
    "tokens_per_block": [49, 25],
    "notices": ["ToMe leaves 25 of 49"],
    "score": "accuracy",
}

# As versions of this project have left them.
FIRST = {"status": "finished", "results": {"dense": 0.5}, "config": {"seed": 0}, "identity": "0123456789ab"}
RUNNING = {"reducer": "tome", "finished": None, "status": "running", "error": None, "results": {}, "experiment": None}
OF_AN_EVALUATION = parts("digits_all", 0.5, reducer="topk", keep_rate=[0.9, 0.7], t=None, reader=None, code=None)
OF_A_METRIC = parts("table2", metric=FID) | {
    "score": "fid",
    "results": {"dense": {"fid": 29.5}},
    "logger": "csv",
    "order": 3,
    "others": {"a": [1, None]},
}


@pytest.mark.parametrize("given", [{}, FIRST, RUNNING, OF_AN_EVALUATION, OF_A_METRIC])
def test_a_record_gives_back_what_was_read(given: dict[str, Any]) -> None:
    """With every part, also one that is null, or that nobody knows, in the order that it had."""
    text = json.dumps(given)
    for record in (Record.read(given), Record.read(text)):
        assert json.dumps(record.as_dict()) == text
        assert json.dumps(record.replace().as_dict()) == text
    assert Record.read(given) == Record.read(text)


@pytest.mark.parametrize("name", ["digits_all", "shapes_all", "deit_tiny_sample", "shapes_segmentation_all"])
def test_kept_records_give_back_what_was_read(name: str) -> None:
    several = json.loads((BENCHMARKS / f"{name}.json").read_text(encoding="utf-8"))
    assert several
    assert json_text([one.as_dict() for one in map(Record.read, several)]) == json_text(several)


def test_what_a_record_says() -> None:
    record = Record.read(OF_A_METRIC)
    assert (record.score, record.metric, record.scored_by) == ("fid", Metric(**FID), Metric(**FID))
    assert (record.seed, record.machine["gpus"], record.result("dense")) == (0, [], {"fid": 29.5})
    assert (record.part("logger"), record.part("sweep"), record.part("schedule")) == ("csv", "table2", None)
    assert (record.part("order"), record.order[0]) == (3, "identity")


def test_what_an_old_record_does_not_say() -> None:
    record = Record.read(FIRST)
    assert (record.sweep, record.seed, record.notices, record.code) == (None, None, None, None)
    assert (record.result("dense"), record.result("fine_tuned")) == (None, None)
    assert (record.reader, record.part("reader")) == (1, None)  # of the first version, which did not say so
    assert Record.read(OF_AN_EVALUATION).reader is None
    assert Record.read(FIRST | {"score": "map"}).scored_by == Metric("map", "%", 100.0)
    assert dict(record.versions) == dict(record.machine) == {}


def test_parts_that_change_keep_their_place() -> None:
    record = Record.read(RUNNING).replace(status="failed", wall_time_s=3.0, experiment="a", notes=["b"])
    assert list(record.as_dict()) == [*RUNNING, "wall_time_s", "notes"]
    assert (record.status, record.wall_time_s, record.part("experiment")) == ("failed", 3.0, "a")
    assert "status" not in record.without("status").as_dict()
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.status = "finished"  # type: ignore[misc]


def test_a_record_that_is_made_says_what_is_known() -> None:
    made = Record(identity="a", status="failed", metric=Metric(**FID), reader=None, others={"logger": "csv"})
    expected = {"identity": "a", "status": "failed", "metric": FID, "reader": None, "logger": "csv"}
    assert made.as_dict() == expected
    assert Record().as_dict() == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "it holds a list"),
        ("{", "Expecting property name"),
        ('{"metric": "fid"}', "metric=fid must be the name"),
    ],
)
def test_what_is_no_record(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Record.read(text)


def test_reading_it_as_a_dict_is_deprecated(tmp_path: Path) -> None:
    record = Record.read(OF_A_METRIC)
    with pytest.warns(DeprecationWarning, match=r"record\['metric'\] is now record.metric"):
        assert record["metric"] == FID
    Store(tmp_path).append(record)
    with pytest.warns(DeprecationWarning, match=r"Store.entries is now Store.records"):
        assert Store(tmp_path).entries() == [record]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"status": "done"}, "status=done must be one of"),
        ({"results": [1]}, "results=a list must be a mapping"),
        ({"metric": "fid"}, "metric=fid must be the name, unit, scale and direction of a metric, or null"),
    ],
)
def test_a_damaged_results_file_is_named(tmp_path: Path, part: dict[str, Any], said: str) -> None:
    assert said in (wellformed.part_fault(part) or "")
    file = tmp_path / "results.json"
    file.write_text(json.dumps(RUNNING | part))
    with pytest.raises(ValueError, match=r"results\.json is damaged \(.*\): remove it, and the same") as error:
        record_file.read(file)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_parts_are_on_disk_at_once_and_add_up(tmp_path: Path) -> None:
    path = tmp_path / "run" / "results.json"
    file = RecordFile(path)
    file.start(seed=3, results={})
    file.update(results={"dense": {"accuracy": 0.5}})
    file.update(results={"fine_tuned": {"accuracy": 0.6}})
    saved = json.loads(path.read_text())
    assert saved["status"] == "running"
    assert saved["seed"] == 3
    assert list(saved["results"]) == ["dense", "fine_tuned"]
    file.finish()
    assert json.loads(path.read_text())["status"] == "finished"
    assert [one.name for one in path.parent.iterdir()] == ["results.json"]


def test_a_resumed_run_continues_its_record(tmp_path: Path) -> None:
    first = RecordFile(tmp_path / "results.json")
    first.start(results={"dense": {"accuracy": 0.5}})
    first.finish("interrupted")
    again = RecordFile(tmp_path / "results.json", resume=True)
    again.start()
    assert again.record.results == {"dense": {"accuracy": 0.5}}
    assert again.record.started == first.record.started
    assert again.record.finished is None


def test_a_new_run_in_an_old_directory_does_not(tmp_path: Path) -> None:
    RecordFile(tmp_path / "results.json").start(results={"dense": {"accuracy": 0.5}})
    assert RecordFile(tmp_path / "results.json").record == Record()


def test_summary() -> None:
    results = {
        "dense": {"accuracy": 0.98},
        "off_the_shelf": {"accuracy": 0.9612},
        "gflops": {"dense": 4.0, "reduced": 1.0},
        "images_per_second": {"dense": 1000.0, "reduced": 2500.0},
    }
    text = summary_text(Record.read({**PARTS, "results": results}), outputs="/somewhere/with a space")
    for part in ("98.00", "96.12", "2,500 (x2.50)", "1 (x0.25)", "49 25", "ToMe leaves", "/somewhere/with a space"):
        assert part in text
    assert "fine-tuned" not in text


def test_summary_of_an_evaluation_of_the_reduced_model_only() -> None:
    results = {"checkpoint": {"accuracy": 0.5}, "gflops": {"dense": 4.0, "reduced": 1.0}}
    text = summary_text(Record.read({**PARTS, "results": results}), outputs="x")
    assert "not evaluated" in text
    assert "checkpoint" in text


def test_what_was_not_measured_before_a_training_is_not_shown() -> None:
    results = {
        "off_the_shelf": {"accuracy": 0.5},
        "fine_tuned": {"accuracy": 0.75},
        "gflops": {"dense": 4.0, "reduced": 1.0},
    }
    for tokens, cells in (([49, 25], 2), ([49, 24.5], 1)):  # the same for every image, and not
        record = Record.read({**PARTS, "results": results, "tokens_per_block": tokens})
        (line,) = (line for line in summary_text(record, outputs="x").splitlines() if "GFLOPs" in line)
        assert line.count("1 (x0.25)") == cells
        assert line.count("not measured") == 2 - cells

"""results.json and the summary."""

import json
from pathlib import Path

from atc.runs import summary
from atc.runs.record import Record

DATA = {
    "reducer": "tome",
    "schedule": "stages: keep_rate=0.5",
    "reduces": True,
    "backbone": "digits",
    "datamodule": "digits",
    "tokens_per_block": [49, 25],
    "notices": ["ToMe leaves 25 of 49"],
    "score": "accuracy",
}


def test_entries_are_on_disk_at_once_and_add_up(tmp_path: Path) -> None:
    path = tmp_path / "run" / "results.json"
    record = Record(path)
    record.start(seed=3, results={})
    record.update(results={"dense": {"accuracy": 0.5}})
    record.update(results={"fine_tuned": {"accuracy": 0.6}})
    saved = json.loads(path.read_text())
    assert saved["status"] == "running"
    assert saved["seed"] == 3
    assert list(saved["results"]) == ["dense", "fine_tuned"]
    record.finish()
    assert json.loads(path.read_text())["status"] == "finished"
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_a_resumed_run_continues_its_record(tmp_path: Path) -> None:
    first = Record(tmp_path / "results.json")
    first.start(results={"dense": {"accuracy": 0.5}})
    first.finish("interrupted")
    again = Record(tmp_path / "results.json", resume=True)
    again.start()
    assert again.data["results"] == {"dense": {"accuracy": 0.5}}
    assert again.data["started"] == first.data["started"]
    assert again.data["finished"] is None


def test_a_new_run_in_an_old_directory_does_not(tmp_path: Path) -> None:
    Record(tmp_path / "results.json").start(results={"dense": {"accuracy": 0.5}})
    assert not Record(tmp_path / "results.json").data


def test_summary() -> None:
    results = {
        "dense": {"accuracy": 0.98},
        "off_the_shelf": {"accuracy": 0.9612},
        "gflops": {"dense": 4.0, "reduced": 1.0},
        "images_per_second": {"dense": 1000.0, "reduced": 2500.0},
    }
    text = summary.text({**DATA, "results": results}, outputs="/somewhere/with a space")
    for part in ("98.00", "96.12", "2,500 (x2.50)", "1 (x0.25)", "49 25", "ToMe leaves", "/somewhere/with a space"):
        assert part in text
    assert "fine-tuned" not in text


def test_summary_of_an_evaluation_of_the_reduced_model_only() -> None:
    results = {"checkpoint": {"accuracy": 0.5}, "gflops": {"dense": 4.0, "reduced": 1.0}}
    text = summary.text({**DATA, "results": results}, outputs="x")
    assert "not evaluated" in text
    assert "checkpoint" in text

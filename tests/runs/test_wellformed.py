"""Records that anybody may have written: each kind of damage is named in one line, with its file."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from atc.report import layout
from atc.runs import wellformed
from atc.runs.record import Record
from atc.runs.store import Store
from tests.report.records import parts, report_of

GOOD = parts("digits_all", 0.5, reducer="topk", keep_rate=0.5)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"status": None}, "status=null must be one of finished, failed, interrupted, running"),
        ({"status": ["finished"]}, "status=a list must be one of"),
        ({"status": "done"}, "status=done must be one of"),
        ({"identity": 5}, "identity=5 must be text without spaces and slashes"),
        ({"identity": "../../x"}, "identity=../../x must be text"),
        ({"finished": 5}, "finished=5 must be text or null"),
        ({"results": [1]}, "results=a list must be a mapping"),
        ({"results": {"fine_tuned": {"accuracy": "0.9"}}}, "results.fine_tuned has 0.9 where a number must be"),
        ({"results": {"fine_tuned": {"accuracy": True}}}, "results.fine_tuned has true where a number must be"),
        ({"results": {"fine_tuned": {"accuracy": 10**400}}}, "where a number must be"),
        ({"seed": "0"}, "seed=0 must be a whole number or null"),
        ({"seed": [0]}, "seed=a list must be a whole number or null"),
        ({"machine": []}, "machine=a list must be a mapping"),
        ({"machine": {"gpus": "A100"}}, "machine=a mapping must be a mapping, with a list of names as gpus"),
        ({"versions": {"torch": 2.6}}, "versions=a mapping must be a mapping from packages to versions"),
        ({"config": "none"}, "config=none must be a mapping of settings"),
        ({"commit": 3}, "commit=3 must be text or null"),
        ({"wall_time_s": "long"}, "wall_time_s=long must be a number of seconds or null"),
        ({"reducer": 7}, "reducer=7 must be text or null"),
        ({"code": {"reducer": 3}}, "code=a mapping must be a mapping from groups to hashes"),
    ],
)
def test_a_part_that_is_none(tmp_path: Path, part: dict[str, Any], said: str) -> None:
    (tmp_path / "bad.json").write_text(json.dumps(GOOD | part))
    with pytest.raises(ValueError, match=r"bad\.json: ") as error:
        Store(tmp_path).records()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_record_of_a_list_is_named(tmp_path: Path) -> None:
    lacking = {key: value for key, value in GOOD.items() if key != "status"}
    (tmp_path / "bad.json").write_text(json.dumps([GOOD, lacking]))
    with pytest.raises(ValueError, match=r"bad\.json, record 2 of 2: it has no status"):
        Store(tmp_path).records()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "it is nested too deep"),
        (json.dumps(GOOD)[:-1] + ', "config": ' + '{"a":' * 200 + "1" + "}" * 200 + "}", "nested more than 32 deep"),
        ("[1, 2]", "it holds 1"),
        ('["identity"]', "it holds identity"),
        ("3", "it holds 3"),
        ("", "is no record of a run"),
        ('{"identity": "x", "status": 1' + "0" * 5000 + "}", "is no record of a run"),
    ],
)
def test_files_of_something_else(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ValueError, match=r"bad\.json") as error:
        Store(tmp_path).records()
    assert said in str(error.value)


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text("\ufeff" + json.dumps(GOOD), encoding="utf-8")  # as some editors write it
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "gone.json").symlink_to("nowhere")
    assert len(Store(tmp_path).records()) == 1


def test_too_large(tmp_path: Path) -> None:
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(100 * 2**20)
    with pytest.raises(ValueError, match=r"large\.json has 100 MB, and a store's files at most 64: split it"):
        Store(tmp_path).records()


@pytest.mark.parametrize("score", [float("nan"), float("inf"), None])
def test_a_score_that_is_no_number_is_none(score: float | None) -> None:
    """As runs of earlier versions left them."""
    odd = GOOD | {"results": {"fine_tuned": {"accuracy": score}}}
    assert wellformed.record_fault(odd) is None
    made = report_of(layout.load("digits_all"), [odd])
    assert made.table.texts(("fine_tuned", "topk"))[1] == "not run"
    assert "Left out, for want of the number they are scored by, accuracy: 1 run." in made.table.notes


def test_a_store_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.append(Record.read(GOOD))
    store.records()
    store.append(Record.read(GOOD | {"identity": "other"}))
    read, files = wellformed.read, []
    monkeypatch.setattr(wellformed, "read", lambda path: [files.append(path), read(path)][1])
    assert len(store.records()) == 2
    assert len(files) == 1
    assert store.finished("other") is not None
    assert store.finished("oth") is None

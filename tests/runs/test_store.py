"""Many processes write, one is killed in the middle of it, and everything that was there stays."""

import errno
import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from atc.report import layout, study, throughput
from atc.runs.record import Record
from atc.runs.store import Store
from tests.report.records import parts


def _write(directory: Path, process: int) -> None:
    store = Store(directory)
    for number in range(25):
        store.append(Record.read(parts("many", 0.5, seed=1000 * process + number)))


def test_many_processes_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write, args=(tmp_path, number)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(found.seed for found in Store(tmp_path).records()) == sorted(
        1000 * process + number for process in range(6) for number in range(25)
    )


def _die_while_writing(directory: Path) -> None:
    def half(file: int) -> None:
        os.ftruncate(file, 25)
        os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = half
    Store(directory).append(Record.read(parts("killed", 0.5)))


def test_a_crash_in_the_middle_of_a_write(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(Record.read(parts("before", 0.5)))
    process = multiprocessing.get_context("fork").Process(target=_die_while_writing, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert [found.sweep for found in store.records()] == ["before"]
    store.append(Record.read(parts("after", 0.5)))
    assert {found.sweep for found in store.records()} == {"before", "after"}


def test_the_record_that_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for hour, status in enumerate(("failed", "finished", "interrupted")):
        own = {"identity": "a", "status": status, "finished": f"2026-01-31T0{hour}"}
        store.append(Record.read(parts("s", 0.5) | own))
    store.append(Record.read(parts("s") | {"identity": "b", "status": "failed"}))
    assert {name: record.status for name, record in store.latest().items()} == {"a": "finished", "b": "failed"}


def test_lists_of_records_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "published.json").write_text(json.dumps([parts("a", 0.5), parts("b", 0.5)]))
    (tmp_path / "other.json").write_text('{"images": 3}')
    assert [found.sweep for found in Store(tmp_path).records()] == ["a", "b"]
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json is no record"):
        Store(tmp_path).records()


def test_no_store_yet(tmp_path: Path) -> None:
    assert Store(tmp_path / "nowhere").records() == []


def test_a_store_that_may_not_be_read_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Path.glob` finds nothing in it. A superuser may read everything: the system's answer is a made-up one."""

    def refuse(place: str | os.PathLike[str]) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", str(place))

    assert Store(tmp_path / "nowhere").records() == []
    monkeypatch.setattr(os, "listdir", refuse)
    for look in (Store(tmp_path).records, Store(tmp_path).latest, lambda: Store(tmp_path).finished("a")):
        with pytest.raises(PermissionError, match=f"Permission denied: '{tmp_path}'"):
            look()
    for read in (throughput.measurements, study.read, lambda places: layout.names(places[0])):
        with pytest.raises(PermissionError, match=f"Permission denied: '{tmp_path}'"):
            read([tmp_path])

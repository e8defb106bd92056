"""A run directory belongs to one process at a time."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import pytest

from atc.runs import lock
from atc.runs.lock import HOLDER, LOCK, InUse, claimed, holder
from tests.harness.commands import environment

# Claims a directory and says so.
CLAIM = """
import sys, time
from atc.runs.lock import claimed
with claimed(sys.argv[1]):
    print("claimed", flush=True)
    time.sleep(100)
"""
# The same with a child that shares the lock, as loader workers do with older versions of filelock.
CLAIM_WITH_CHILD = """
import fcntl, json, os, sys, time
from pathlib import Path
from atc.runs import lock
directory = Path(sys.argv[1])
(directory / lock.HOLDER).write_text(json.dumps(lock._myself()._asdict()))
file = open(directory / lock.LOCK, "w")
fcntl.flock(file, fcntl.LOCK_EX)
if os.fork() == 0:
    time.sleep(float(sys.argv[2]))
    os._exit(0)
print("claimed", flush=True)
time.sleep(100)
"""


@contextmanager
def claimed_elsewhere(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the directory, killed at the end."""
    code = CLAIM_WITH_CHILD if arguments else CLAIM
    command = [sys.executable, "-c", code, str(directory), *arguments]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        yield process
        process.kill()


def test_the_other_process_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with claimed_elsewhere(tmp_path) as other:
        with (
            pytest.raises(InUse, match=rf"in use by process {other.pid} on this machine, since 20.*: wait for it"),
            claimed(tmp_path),
        ):
            pass
        assert "waiting" not in caplog.text
        found = holder(tmp_path)
        assert found is not None
        assert (found.pid, found.host) == (other.pid, socket.gethostname())
    with claimed(tmp_path):  # killed: it holds nothing any more
        assert json.loads((tmp_path / HOLDER).read_text())["pid"] == os.getpid()
    assert holder(tmp_path) is None
    assert not (tmp_path / HOLDER).exists()


def test_children_of_a_dead_process_are_waited_for(tmp_path: Path) -> None:
    with claimed_elsewhere(tmp_path, "1") as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        with claimed(tmp_path):
            pass


def test_children_that_stay_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "ORPHANS", 0.2)
    with claimed_elsewhere(tmp_path, "2") as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        with pytest.raises(InUse, match=f"child processes of {other.pid}, which has ended"), claimed(tmp_path):
            pass


def test_once_more_in_the_same_thread_but_in_no_other(tmp_path: Path) -> None:
    said: list[str] = []

    def other() -> None:
        try:
            with claimed(tmp_path):
                said.append("claimed")
        except InUse as error:
            said.append(str(error))

    link = tmp_path.parent / f"{tmp_path.name}_link"
    link.symlink_to(tmp_path)
    with claimed(tmp_path), claimed(link):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert f"in use by process {os.getpid()}" in said[0]
    with claimed(link):
        pass


@pytest.mark.parametrize("name", lock.RANKS)
def test_processes_for_other_devices_do_not_lock_themselves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with claimed_elsewhere(tmp_path):
        monkeypatch.setenv(name, "1")
        with claimed(tmp_path):
            pass


def test_another_machine_and_what_to_do(tmp_path: Path) -> None:
    with claimed_elsewhere(tmp_path):
        said = {"pid": 7, "host": "node\x1b[31m7", "since": "2026-01-31", "command": "train.py\nreducer=tome"}
        (tmp_path / HOLDER).write_text(json.dumps(said))
        with pytest.raises(InUse) as error, claimed(tmp_path):
            pass
    assert str(error.value).isprintable()
    assert f"or remove {tmp_path / LOCK} if that process is gone" in str(error.value)


@pytest.mark.parametrize("content", ["", "[", "[]", '{"pid": "x"}', '{"pid": -1}'], ids=str)
def test_a_holder_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    with claimed_elsewhere(tmp_path):
        (tmp_path / HOLDER).write_text(content)
        with pytest.raises(InUse, match="in use by another process"), claimed(tmp_path):
            pass


def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def without(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(filelock.FileLock, "acquire", without)
    with claimed(tmp_path):
        pass
    assert "cannot be locked" in caplog.text

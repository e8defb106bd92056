"""One process at a time in a run directory."""

import json
import logging
import os
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from atc.files import remove_partial, write_json
from atc.printable import printable

log = logging.getLogger(__name__)

# Beside the results. The operating system drops the lock with the process that holds it, however that ends; what the
# second file says counts only while the first is locked.
LOCK, HOLDER = ".run.lock", ".run.lock.json"
ORPHANS = 15.0  # seconds; loader workers, which share the lock, look every 5 whether their parent is still there
# A process for another device of the same run has another number than 0 in one of these.
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")

_held: dict[str, tuple[int, int]] = {}  # process and thread by directory


class InUse(ValueError):
    """Another process has claimed the run directory."""


class Holder(NamedTuple):
    """The process that holds a run directory.

    Attributes:
        pid: its process id, 0 if unknown.
        host: the machine it runs on.
        since: when it claimed the directory, as an ISO time.
        command: what was typed.
    """

    pid: int
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        """Which process it is, for a message."""
        if not self.pid:
            return "another process"
        where = "this machine" if self.host == socket.gethostname() else self.host
        return f"process {self.pid} on {where}, since {self.since} ({self.command})"


@contextmanager
def claimed(directory: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a run directory until the block ends; it is made if it is not there.

    A thread may claim again what it has claimed. Processes for the other devices of a run claim nothing: the first
    does. Where the file system cannot lock, a warning says so and the block runs. A sweep whose launcher runs jobs
    in other processes must not claim for them: each job does so itself, and the sweep asks `holder`.

    Args:
        directory: the run directory.

    Raises:
        InUse: another process, or another thread, has it; the message names it.
    """
    folder = Path(directory)
    name, mine = os.path.realpath(folder), (os.getpid(), threading.get_ident())
    if _held.get(name) == mine or not is_first():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        locked: bool | None = _acquire(lock, folder)
    except (OSError, NotImplementedError) as error:
        log.warning("%s cannot be locked (%s): see to it that no second process runs in it", folder, error)
        locked = None
    if locked is None:
        yield
        return
    if not locked:
        raise InUse(_in_use(folder))
    _held[name] = mine
    try:
        with suppress(OSError):  # a full disk: the run itself says so; the lock holds without it
            write_json(folder / HOLDER, _myself()._asdict())
        yield
    finally:
        del _held[name]
        with suppress(OSError):
            (folder / HOLDER).unlink(missing_ok=True)
        lock.release(force=True)


@contextmanager
def alone(directory: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a run directory until the block ends, as `claimed` does, without what killed processes left half written.

    Args:
        directory: the run directory.

    Raises:
        InUse: another process, or another thread, has it; the message names it.
    """
    with claimed(directory):
        if is_first():
            remove_partial(directory)
        yield


def holder(directory: str | os.PathLike[str]) -> Holder | None:
    """The process that holds a run directory now, None if no process does, or it cannot be known.

    Args:
        directory: the run directory; it need not exist.

    Returns:
        The process, which may hold it no longer when the caller reads this.
    """
    folder = Path(directory)
    if not (folder / LOCK).is_file():
        return None
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _read(folder)
    except (OSError, NotImplementedError):
        return None
    lock.release(force=True)
    return None


def is_first() -> bool:
    """Whether this process is the one of its run that writes; those for the other devices are not."""
    return all(os.environ.get(name, "0") in ("", "0") for name in RANKS)


def _acquire(lock: FileLock, folder: Path) -> bool:
    """Take the lock if it is free, or as soon as the children of a process that has ended release it."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        owner = _read(folder)
        if not owner.pid or owner.host != socket.gethostname() or _runs(owner.pid):
            return False
        log.info("waiting for child processes of %d, which has ended", owner.pid)
        try:
            lock.acquire(timeout=ORPHANS, poll_interval=0.1)
        except Timeout:
            return False
    return True


def _in_use(folder: Path) -> str:
    owner = _read(folder)
    if owner.pid and owner.host == socket.gethostname() and not _runs(owner.pid):
        return f"{folder} is in use by child processes of {owner.pid}, which has ended: stop them, and start again"
    there = f", or remove {folder / LOCK} if that process is gone" if owner.host != socket.gethostname() else ""
    return f"{folder} is in use by {owner}: wait for it or stop it{there}"


def _myself() -> Holder:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"), command[:300])


def _read(folder: Path) -> Holder:
    try:
        parts = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        texts = [printable(str(parts[key])) for key in ("host", "since", "command")]
        return Holder(max(0, int(parts["pid"])), *texts)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Holder(0, "", "", "")


def _runs(pid: int) -> bool:
    """Whether a process of this machine is still there, and more than an entry of one that has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return True

"""One process at a time does a run of a sweep, also where several sweeps share it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from atc import code
from atc.runs import lock
from atc.runs.record import Record
from atc.runs.store import Store

CLAIMS = ".claims"  # in the store, which is what sweeps have in common
CHANGED = "changed"  # the value of hydra.sweeper.rerun beside true and false
PATIENCE = 0.5  # seconds; one that only asks who holds a run holds it for a moment


@contextmanager
def claimed(store: str | Path, identity: str) -> Iterator[None]:
    """Keep other processes from doing the run until the block ends.

    Args:
        store: the results store.
        identity: the run's.

    Raises:
        lock.InUse: another process is doing it.
    """
    end = time.monotonic() + PATIENCE
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(lock.claimed(_place(store, identity)))
                break
            except lock.InUse:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        yield


def holder(store: str | Path, identity: str) -> lock.Holder | None:
    """The process that is doing a run of a sweep now; None if no process is."""
    return lock.holder(_place(store, identity))


def done_meanwhile(store: str | Path, identity: str, rerun: bool | str, config: Mapping[str, Any]) -> Record | None:
    """The record of a run that has no need to be done any more: another process did it since the sweep was listed.

    Args:
        store: the results store.
        identity: the run's.
        rerun: the sweep's setting.
        config: the run's settings, by which its code is known.
    """
    if rerun is True:
        return None
    record = Store(store).finished(identity)
    if record is None or (rerun == CHANGED and changed(record, code.of_config(config))):
        return None
    return record


def changed(record: Record, now: dict[str, str]) -> list[str]:
    """The groups whose code is another one than in a record; one that does not say counts as unknown.

    Args:
        record: that of a run.
        now: hashes of today's code, by group.
    """
    then = record.code or {}
    return [group for group in now if group in then and then[group] != now[group]]


def _place(store: str | Path, identity: str) -> Path:
    return Path(store) / CLAIMS / identity

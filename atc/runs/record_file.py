"""results.json: everything needed to know what a run was and what came out, written as it becomes known.

`results` holds one mapping for each evaluation (dense, off_the_shelf, checkpoint, fine_tuned; validation for the epoch
that was chosen): its metrics, `images`, how many images they are over, and `images_of`, how many the part of the data
set has. Records of before these two keys lack them. `reader` is the version of the code that reads pictures, null where
a data set is not made of files of pictures; records without it are of version 1. JSON has no NaN: what is not a number
is null.
"""

import json
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from atc import provenance
from atc.files import write_json
from atc.runs import wellformed
from atc.runs.record import Record, Status

FILE = "results.json"


class RecordFile:
    """One run's results.json; every `update` rewrites the file, so that an interruption loses nothing.

    Args:
        path: the file.
        resume: continue the record that is there instead of replacing it.

    Attributes:
        path: the file.
        record: what it holds.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        """Read the file if it is continued; nothing is written yet."""
        self.path = path
        self.record = read(path) if resume and path.is_file() else Record()

    def start(self, **settings: Any) -> None:
        """Note when, with what command, code, versions and machine this run started; and its settings."""
        if self.record.error:  # of the run that this one goes on with
            settings = {"error": None, **settings}
        self.update(
            status="running",
            started=self.record.started or _now(),
            finished=None,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            **provenance.origin(),
            **settings,
        )

    def update(self, **parts: Any) -> None:
        """Set parts of the record; a mapping is merged into what is there. What cannot be written is not set."""
        before = self.record.as_dict()
        merged = {
            name: {**before[name], **value}
            if isinstance(value, Mapping) and isinstance(before.get(name), Mapping)
            else value
            for name, value in parts.items()
        }
        record = self.record.replace(**merged)
        write_json(self.path, record.as_dict())
        self.record = record

    def finish(self, status: Status = "finished") -> None:
        """Note how the run ended: "finished", "interrupted" or "failed"."""
        self.update(status=status, finished=_now())


def read(path: Path) -> Record:
    """What a results.json says.

    Args:
        path: the file.

    Returns:
        The record.

    Raises:
        ValueError: it is cut off, or holds something else; the message names it and what to do.
        OSError: it cannot be read.
    """
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
        reason = wellformed.part_fault(parts) if isinstance(parts, dict) else None
        if reason is None:
            return Record.read(parts)
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
    raise ValueError(f"{path} is damaged ({reason}): remove it, and the same command writes it anew")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

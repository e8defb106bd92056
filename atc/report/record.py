"""results.json: everything needed to know what a run was and what came out, written as it becomes known."""

import json
import os
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from atc import provenance

FILE = "results.json"


class Record:
    """One run's results.json; every `update` rewrites the file, so that an interruption loses nothing.

    path: the file; resume: continue the record that is there instead of replacing it.
    """

    def __init__(self, path: Path, *, resume: bool = False):
        self.path = path
        self.data: dict[str, Any] = json.loads(path.read_text()) if resume and path.is_file() else {}

    def start(self, **settings: Any) -> None:
        """Note when, with what command, code, versions and machine this run started; and its settings."""
        self.update(
            status="running",
            started=self.data.get("started", _now()),
            finished=None,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            commit=provenance.commit(),
            versions=provenance.versions(),
            machine=provenance.machine(),
            **settings,
        )

    def update(self, **entries: Any) -> None:
        """Set entries; a mapping is merged into what is there."""
        for key, value in entries.items():
            if isinstance(value, Mapping) and isinstance(self.data.get(key), dict):
                self.data[key] |= value
            else:
                self.data[key] = value
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(f".{os.getpid()}.tmp")
        partial.write_text(json.dumps(self.data, indent=2) + "\n")
        partial.replace(self.path)  # atomic: never half a record

    def finish(self, status: str = "finished") -> None:
        """Note how the run ended: "finished", "interrupted" or "failed"."""
        self.update(status=status, finished=_now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

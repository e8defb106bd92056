"""What a W&B run wrote to disk, read back from its .wandb file.

The file is a log in LevelDB's format (github.com/google/leveldb/blob/main/doc/log_format.md) behind a header of seven
bytes; each entry is a Record of the wandb package's protocol.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_HEADER, _BLOCK, _ENTRY = 7, 32 * 1024, 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


class Written(NamedTuple):
    """One run: its name, group and settings, the rows of its history, and the artifacts with their files."""

    id: str
    name: str
    group: str
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    artifacts: dict[str, dict[str, str]]  # by type: path in the artifact, path on this machine
    exit_code: int
    files: Path
    summarised: dict[str, str]  # by metric: "max" or "min", where the summary is not the last value


def read(directory: Path, patience: float = 30.0) -> Written:
    """The run in `directory`, as in wandb/offline-run-TIME-ID, once it holds the end of the run.

    patience: seconds to wait for that; W&B writes from a process of its own, which may still be at it.
    """
    deadline = time.monotonic() + patience
    while "exit_code" not in (found := _found(directory)):
        assert time.monotonic() < deadline, f"no end of the run in {directory}"
        time.sleep(0.1)
    return Written(**found)


def _found(directory: Path) -> dict[str, Any]:
    protocol = pytest.importorskip("wandb.proto.wandb_internal_pb2", reason="this wandb has another protocol")
    (file,) = directory.glob("*.wandb")
    found: dict[str, Any] = {"config": {}, "history": [], "summary": {}, "artifacts": {}, "summarised": {}}
    found["files"] = directory / "files"
    for entry in _entries(file.read_bytes()):
        record = protocol.Record.FromString(entry)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found |= {"id": run.run_id, "name": run.display_name, "group": run.run_group}
            found["config"] |= _values(run.config.update)
        elif kind == "config":
            found["config"] |= _values(record.config.update)
        elif kind == "history":
            found["history"].append(_values(record.history.item))
        elif kind == "summary":
            found["summary"] |= _values(record.summary.update)
        elif kind == "artifact":
            manifest = record.artifact.manifest.contents
            found["artifacts"][record.artifact.type] = {entry.path: entry.local_path for entry in manifest}
        elif kind == "metric":
            for mode in ("max", "min"):
                if getattr(record.metric.summary, mode):
                    found["summarised"][record.metric.name] = mode
        elif kind == "exit":
            found["exit_code"] = record.exit.exit_code
    found["config"].pop("_wandb", None)  # W&B's own, which its API leaves out too
    return found


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _entries(log: bytes) -> Iterator[bytes]:
    place, parts = _HEADER, b""
    while place + _ENTRY <= len(log):
        left = _BLOCK - place % _BLOCK
        if left < _ENTRY:  # the rest of a block that no entry fits into is zeros
            place += left
            continue
        length, kind = int.from_bytes(log[place + 4 : place + 6], "little"), log[place + 6]
        parts += log[place + _ENTRY : place + _ENTRY + length]
        place += _ENTRY + length
        if kind in (_FULL, _LAST):
            yield parts
            parts = b""
        else:
            assert kind in (_FIRST, _MIDDLE), f"no entry at byte {place}"

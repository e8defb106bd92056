"""The results store: one small JSON file per run in one directory.

Why JSON files and not one database: any number of processes, on any number of machines that share a file system, write
at once without locks (which network file systems do badly); a file is written under another name and renamed, so that
it is there whole or not at all; nothing already there is ever opened for writing; a person can read, copy and delete
runs; and pandas and DuckDB open the whole store:

    SELECT reducer, keep_rate, avg(results.fine_tuned.accuracy)
    FROM read_json('runs/store/*.json', union_by_name=true) GROUP BY ALL

    pandas.json_normalize([json.loads(file.read_text()) for file in Path("runs/store").glob("*.json")])
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from atc.files import json_text, write_whole
from atc.runs import identity, lock, wellformed
from atc.runs import record as record_file

Entry = dict[str, Any]
GROUPS = ("reducer", "backbone", "datamodule", "schedule", "task", "optimizer")


class Store:
    """The records of all runs; appending never changes or loses what is there.

    directory: where they are; it need not exist yet.
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        self._read: dict[Path, tuple[tuple[int, int], list[Entry]]] = {}

    def append(self, entry: Mapping[str, Any]) -> Path:
        """Add one record, whole or not at all; the file it is in now."""
        path = self.directory / f"{entry['identity']}-{uuid.uuid4().hex[:12]}.json"
        return write_whole(path, json_text(entry, indent=1))

    def entries(self) -> list[Entry]:
        """All records, the earliest first. A file may also hold a list of them, as those of benchmarks/ do.

        ValueError names a file that is no record, and a record that is not well-formed.
        """
        # Files alone: a pipe named so would be waited for.
        files = [path for path in sorted(self.directory.glob("*.json")) if path.is_file()]
        found = [entry for path in files for entry in self._entries_of(path)]
        return sorted(found, key=lambda entry: entry.get("finished") or "")

    def _entries_of(self, path: Path) -> list[Entry]:
        """The records in a file, which is read once for as long as it is the same: a sweep asks again and again."""
        state = path.stat()
        version = (state.st_mtime_ns, state.st_size)
        if path not in self._read or self._read[path][0] != version:
            self._read[path] = (version, wellformed.read(path))
        return self._read[path][1]

    def finished(self, name: str) -> Entry | None:
        """The last finished record of an identity, from the files named after it alone: quick in a store of many."""
        files = [path for path in self.directory.glob(f"{name}-*.json") if path.is_file()]
        found = [entry for path in files for entry in self._entries_of(path)]
        done = [entry for entry in found if entry["identity"] == name and entry["status"] == "finished"]
        return max(done, key=lambda entry: entry.get("finished") or "", default=None)

    def holds(self, entry: Mapping[str, Any]) -> bool:
        """Whether a record is there, under whatever sweep's name: one of the same run, begun and ended when it was."""
        same = ("identity", "started", "finished")
        for path in self.directory.glob(f"{entry['identity']}-*.json"):
            try:
                found = self._entries_of(path) if path.is_file() else []
            except (OSError, ValueError):  # being removed, or damaged: `entries` names it
                continue
            if any(all(one.get(key) == entry.get(key) for key in same) for one in found):
                return True
        return False

    def latest(self) -> dict[str, Entry]:
        """The record that counts for each identity: the last finished one, else the last."""
        found: dict[str, Entry] = {}
        for entry in self.entries():
            if entry["status"] == "finished" or found.get(entry["identity"], entry)["status"] != "finished":
                found[entry["identity"]] = entry
        return found


def reconcile(directory: str | Path, store: str | Path, cfg: DictConfig) -> Path | None:
    """Enter a finished run into the store if that lacks it: its process was ended between the one and the other.

    Several processes may do so at once: it is entered once.

    Args:
        directory: the run directory; it need not exist.
        store: the directory of the results store.
        cfg: the configuration of the run.

    Returns:
        The record's file in the store; None if the run is not finished, was there, or another process is at it.

    Raises:
        ValueError: results.json is damaged.
    """
    file = Path(directory) / record_file.FILE
    if not file.is_file():
        return None
    found = record_file.read(file)
    if found.get("status") != "finished":
        return None
    missing, entries = entry(cfg, found), Store(store)
    if entries.holds(missing):
        return None
    try:
        with lock.claimed(directory):
            return None if entries.holds(missing) else entries.append(missing)
    except lock.InUse:
        return None


def entry(cfg: DictConfig, record: Mapping[str, Any]) -> Entry:
    """What the store holds of a run.

    cfg: its configuration; record: its results.json. The columns to select by come first: the options chosen,
    keep_rate or t if the schedule has them, seed; `config` is what `identity` is the hash of, and free of paths.
    """
    determining = identity.settings(cfg)
    choices, schedule = cfg.get("choices") or {}, cfg.get("schedule") or {}
    chosen = {group: choices[group] for group in GROUPS if choices.get(group)}
    plain = OmegaConf.to_container(schedule, resolve=True) if OmegaConf.is_config(schedule) else schedule
    counts = {key: plain[key] for key in ("keep_rate", "t") if key in plain}
    rest = {key: value for key, value in record.items() if key not in chosen}
    return {
        "identity": identity.of_settings(determining),
        "sweep": cfg.get("sweep"),
        **chosen,
        **counts,
        **rest,
        "wall_time_s": _seconds(record),
        "config": determining,
    }


def _seconds(record: Mapping[str, Any]) -> float | None:
    if not record.get("started") or not record.get("finished"):
        return None
    begin, end = (datetime.fromisoformat(record[key]) for key in ("started", "finished"))
    return (end - begin).total_seconds()

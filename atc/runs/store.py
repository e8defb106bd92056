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
import warnings
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig

from atc.files import listed, write_json
from atc.runs import identity, lock, record_file, wellformed
from atc.runs.record import Record
from atc.runs.settings import plain_settings

GROUPS = ("reducer", "backbone", "datamodule", "schedule", "task", "optimizer")


class Store:
    """The records of all runs; appending never changes or loses what is there.

    Args:
        directory: where they are; it need not exist yet.

    Attributes:
        directory: the same.
    """

    def __init__(self, directory: str | Path) -> None:
        """Read nothing; records are read when they are first needed."""
        self.directory = Path(directory)
        self._read: dict[Path, tuple[tuple[int, int], list[Record]]] = {}

    def append(self, record: Record) -> Path:
        """Add one record, whole or not at all; the file it is in now."""
        path = self.directory / f"{record.identity}-{uuid.uuid4().hex[:12]}.json"
        return write_json(path, record.as_dict(), indent=1)

    def records(self) -> list[Record]:
        """All records, the earliest first. A file may also hold a list of them, as those of benchmarks/ do.

        Raises:
            ValueError: a file is no record, or a record is not well-formed; the message names it.
            OSError: the directory or a file may not be read.
        """
        records = [record for path in listed(self.directory, "*.json") for record in self._records_of(path)]
        return sorted(records, key=lambda record: record.finished or "")

    def entries(self) -> list[Record]:
        """The former name of `records`."""
        warnings.warn("Store.entries is now Store.records; it goes with the next release", DeprecationWarning, 2)
        return self.records()

    def _records_of(self, path: Path) -> list[Record]:
        """The records in a file, which is read once for as long as it is the same: a sweep asks again and again."""
        state = path.stat()
        version = (state.st_mtime_ns, state.st_size)
        if path not in self._read or self._read[path][0] != version:
            self._read[path] = (version, wellformed.read(path))
        return self._read[path][1]

    def finished(self, name: str) -> Record | None:
        """The last finished record of an identity, from the files named after it alone: quick in a store of many."""
        files = listed(self.directory, f"{name}-*.json")
        records = [record for path in files for record in self._records_of(path)]
        done = [record for record in records if record.identity == name and record.status == "finished"]
        return max(done, key=lambda record: record.finished or "", default=None)

    def holds(self, record: Record) -> bool:
        """Whether a record is there, under whatever sweep's name: one of the same run, begun and ended when it was."""
        for path in listed(self.directory, f"{record.identity}-*.json"):
            try:
                there = self._records_of(path)
            except (OSError, ValueError):  # being removed, or damaged: `records` names it
                continue
            if any(_run(one) == _run(record) for one in there):
                return True
        return False

    def latest(self) -> dict[str, Record]:
        """The record that counts for each identity: the last finished one, else the last."""
        latest: dict[str, Record] = {}
        for record in self.records():
            name = str(record.identity)
            if record.status == "finished" or latest.get(name, record).status != "finished":
                latest[name] = record
        return latest


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
    record = record_file.read(file)
    if record.status != "finished":
        return None
    missing, there = with_settings(record, cfg), Store(store)
    if there.holds(missing):
        return None
    try:
        with lock.claimed(directory):
            return None if there.holds(missing) else there.append(missing)
    except lock.InUse:
        return None


def with_settings(record: Record, cfg: DictConfig) -> Record:
    """A record as the store holds it: with the settings of its run.

    The columns to select by come first: the options chosen, keep_rate, threshold or t if the schedule has them,
    seed; `config` is what `identity` is the hash of, and free of paths.

    Args:
        record: that of results.json.
        cfg: the configuration of the run.

    Returns:
        Another record.
    """
    determining = identity.settings(cfg)
    choices, schedule = cfg.get("choices") or {}, cfg.get("schedule") or cfg.get("merging") or {}
    chosen = {group: choices[group] for group in GROUPS if choices.get(group)}
    plain = plain_settings(schedule, resolve=True) if isinstance(schedule, DictConfig) else schedule
    counts = {key: plain[key] for key in ("keep_rate", "t") if key in plain}
    if plain.get("threshold") is not None:
        counts = {"threshold": plain["threshold"]}
    rest = {key: value for key, value in record.as_dict().items() if key not in chosen}
    parts = {
        "identity": identity.of_settings(determining),
        "sweep": cfg.get("sweep"),
        **chosen,
        **counts,
        **rest,
        "wall_time_s": _seconds(record),
        "config": determining,
    }
    return Record.read(parts)


def _run(record: Record) -> tuple[str | None, ...]:
    """What two records of one run have in common."""
    return record.identity, record.started, record.finished


def _seconds(record: Record) -> float | None:
    if not record.started or not record.finished:
        return None
    return (datetime.fromisoformat(record.finished) - datetime.fromisoformat(record.started)).total_seconds()

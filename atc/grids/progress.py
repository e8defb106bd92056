"""How far a sweep has come: which of its runs the store holds, which failed, which were cut off."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from omegaconf import DictConfig

from atc import code
from atc.grids import claim
from atc.printable import printable
from atc.runs import record_file, store
from atc.runs.record import Record
from atc.runs.settings import plain_settings
from atc.runs.store import Store, with_settings

log = logging.getLogger(__name__)

State = Literal["done", "failed", "cut off", "missing", "running", "wrong"]


class Job(Protocol):
    """A run of a sweep."""

    @property
    def overrides(self) -> list[str]:
        """The overrides that make it."""
        ...

    @property
    def cfg(self) -> DictConfig:
        """Its configuration."""
        ...

    @property
    def identity(self) -> str:
        """Its identity."""
        ...

    @property
    def directory(self) -> Path:
        """Its directory."""
        ...

    @property
    def wrong(self) -> str | None:
        """Why it cannot be run; None if it can."""
        ...


AnyJob = TypeVar("AnyJob", bound=Job)


class Attempts(NamedTuple):
    """Traces of a run.

    Attributes:
        ended: how many records the store has of it.
        touched: when its own record was last written, in nanoseconds; 0 for never.
    """

    ended: int
    touched: int


class Progress(Generic[AnyJob]):
    """Compares the runs of a sweep with the results store.

    Args:
        directory: that of the store.
        jobs: by identity.

    Attributes:
        store: the store.
        jobs: the same.
    """

    def __init__(self, directory: str | Path, jobs: Mapping[str, AnyJob]) -> None:
        """Read nothing; records are read when they are first needed."""
        self.store, self.jobs = Store(directory), jobs

    def states(self) -> dict[str, State]:
        """What each run has come to, by identity.

        Done; failed; cut off, by a signal or a crash; missing, that is never started; running now; wrong, with
        settings that cannot be run.
        """
        latest = self.store.latest()
        return {name: self._state(job, latest.get(name)) for name, job in self.jobs.items()}

    def _state(self, job: Job, record: Record | None) -> State:
        if claim.holder(self.store.directory, job.identity) is not None:
            return "running"
        if record is not None and record.status == "finished":
            return "done"
        if _status(job) == "finished":  # which `reconcile` enters
            return "done"
        if job.wrong is not None:
            return "wrong"
        if _status(job) in ("running", "interrupted"):
            return "cut off"
        return "missing" if record is None else "failed" if record.status == "failed" else "cut off"

    def missing(self) -> list[AnyJob]:
        """The runs that are not done; what another process is doing counts as not done."""
        latest = self.store.latest()
        return [job for name, job in self.jobs.items() if latest.get(name, Record()).status != "finished"]

    def changed(self) -> dict[str, list[str]]:
        """Runs that were done with other code than today's: by identity, the groups it is the code of."""
        differing: dict[str, list[str]] = {}
        for name, last in self.store.latest().items():
            if name in self.jobs and last.status == "finished" and last.code:
                groups = claim.changed(last, self._code(self.jobs[name]))
                if groups:
                    differing[name] = groups
        return differing

    def _code(self, job: Job) -> dict[str, str]:
        return code.of_config(plain_settings(job.cfg))

    def reconcile(self) -> int:
        """Enter runs that are finished and that the store lacks, as where a process was killed just then; how many."""
        entered = 0
        for job in self.jobs.values():
            with suppress(ValueError):  # a damaged record, of which `states` warns
                entered += store.reconcile(job.directory, self.store.directory, job.cfg) is not None
        return entered

    def adopt(self) -> int:
        """Enter runs that other sweeps have finished under this one's name too, so that reports find them; how many."""
        own = {(one.identity, one.sweep) for one in self.store.records() if one.status == "finished"}
        adopted = 0
        for name, record in self.store.latest().items():
            sweep = self.jobs[name].cfg.get("sweep") if name in self.jobs else None
            if sweep is not None and record.status == "finished" and (name, sweep) not in own:
                self.store.append(record.replace(sweep=sweep))
                adopted += 1
        return adopted

    def command(self, job: Job) -> list[str]:
        """The overrides to launch a run with; a training that was cut off goes on where it was.

        So does one that a cluster preempts and starts again with the overrides it had. One that is done is asked for
        again on purpose.

        Args:
            job: the run.

        Returns:
            Its overrides, and resume=auto for such a training.
        """
        resumable = "optimizer" in job.cfg and _status(job) != "finished"
        return [*job.overrides, "resume=auto"] if resumable else job.overrides

    def attempts(self) -> dict[str, Attempts]:
        """By identity: what a run that was begun or ended since changes."""
        ended = Counter(record.identity for record in self.store.records())
        return {
            name: Attempts(ended[name], _touched(job.directory / record_file.FILE)) for name, job in self.jobs.items()
        }

    def note_failure(self, job: Job, error: object, since: Mapping[str, Attempts]) -> None:
        """Put a run that failed before it could say so itself into the store."""
        if self.attempts()[job.identity].ended == since[job.identity].ended:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            failed = {"status": "failed", "finished": now, "error": str(error), "seed": job.cfg.get("seed")}
            self.store.append(with_settings(Record.read(failed), job.cfg))

    def text(self, name: str, every: bool) -> str:
        """Counts, and the runs that are not done.

        Args:
            name: what the sweep is called.
            every: also list those that are done.

        Returns:
            Lines.
        """
        states, changed = self.states(), self.changed()
        counts = Counter(states.values())
        lines = [f"{name}: {len(states)} runs; " + ", ".join(f"{n} {state}" for state, n in counts.most_common())]
        if changed:
            lines[0] += f"; code changed since {len(changed)} of them: hydra.sweeper.rerun=changed does these again"
        errors = {name: _on_one_line(record.error) for name, record in self.store.latest().items()}
        for identity, state in states.items():
            if every or state in ("failed", "cut off", "running", "wrong"):
                reason = errors.get(identity) if state == "failed" else None
                reason = str(claim.holder(self.store.directory, identity)) if state == "running" else reason
                reason = self.jobs[identity].wrong if state == "wrong" else reason
                reason = f"code changed since: {', '.join(changed[identity])}" if identity in changed else reason
                why = f"  ({printable(reason)})" if reason else ""
                lines.append(f"  {state:8} {identity}  {printable(_typed(self.jobs[identity]))}{why}")
        return "\n".join(lines)

    def refusal(self, wrong: Sequence[Job]) -> str:
        """One line about runs whose settings cannot be run."""
        first = wrong[0]
        return f"{len(wrong)} of {len(self.jobs)} runs cannot be run, the first of them {_typed(first)}: {first.wrong}"

    def complaint(self, failed: Iterable[Job], errors: Mapping[str, object]) -> str:
        """One line about the runs that are not done, or failed when they were run again.

        Args:
            failed: those runs.
            errors: by identity, why runs failed just now.

        Returns:
            The line.
        """
        latest, failed = self.store.latest(), list(failed)
        first = failed[0]
        recorded = latest.get(first.identity, Record()).error
        reason = _on_one_line(errors.get(first.identity)) or _on_one_line(recorded)
        states = self.states()
        earlier = sum(states[job.identity] == "done" for job in failed)
        kept = f" (earlier results, which stay: {earlier})" if earlier else ""
        return (
            f"{len(failed)} of {len(self.jobs)} runs are not done{kept}, the first of them {_typed(first)}: "
            f"{reason or 'it was cut off'}; the same command tries them again"
        )


def _status(job: Job) -> str | None:
    """What the run's own record says it was last seen doing."""
    file = job.directory / record_file.FILE
    try:
        return record_file.read(file).status if file.is_file() else None
    except ValueError as error:  # cut off while it was written by an earlier version; the run says what to do
        log.warning("%s", error)
        return "interrupted"


def _touched(file: Path) -> int:
    return file.stat().st_mtime_ns if file.is_file() else 0


def _on_one_line(error: object) -> str:
    return " ".join(str(error or "").split())[:200]


def _typed(job: Job) -> str:
    return " ".join(item for item in job.overrides if not item.startswith("hydra."))

"""What became of the runs of one command, in a table at its end."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from hydra.core.utils import JobReturn, JobStatus
from rich.console import Console
from rich.table import Table

from atc.printable import printable
from atc.runs import lock, record_file

RESULTS = ("fine_tuned", "checkpoint", "off_the_shelf", "dense")  # the first that there is stands for a run

ELSEWHERE = "being done by another process"


class Outcome(NamedTuple):
    """What became of a run.

    Attributes:
        overrides: what was set for it.
        status: its score, or how it ended.
        directory: where its files are; None if it left none.
        error: why it failed; None if it did not.
    """

    overrides: Sequence[str]
    status: str
    directory: Path | None = None
    error: BaseException | str | None = None


def outcome_of(result: JobReturn, overrides: Sequence[str]) -> Outcome:
    """What became of a job that a launcher ran."""
    hydra = result.hydra_cfg.hydra if result.hydra_cfg is not None else None
    directory = Path(hydra.runtime.output_dir) if hydra is not None else None
    directory = directory if directory is not None and directory.is_dir() else None
    if result.status == JobStatus.COMPLETED:
        return Outcome(overrides, _score(directory), directory)
    error = result._return_value
    if isinstance(error, lock.InUse):  # which has claimed the run
        return Outcome(overrides, ELSEWHERE, directory)
    return Outcome(overrides, "failed", directory, error or "it left no result")


def make_directory(directory: Path) -> None:
    """Make the directory of a sweep's runs; ValueError, one line, where that cannot be."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"{error.strerror}; paths.runs=DIR is where they are written"
        raise ValueError(f"the runs cannot be written to {directory}: {why}") from None


def outcome_table(outcomes: Iterable[Outcome]) -> str:
    """One line per run: what was set for it alone, its score or how it ended, and where its files are."""
    out, drawn = io.StringIO(), Table(show_edge=False, pad_edge=False)
    for head in ("run", "result", "directory"):
        drawn.add_column(head, overflow="fold")
    outcomes, here = list(outcomes), Path.cwd()
    for outcome, settings in zip(outcomes, _own_settings(outcomes), strict=True):
        directory = outcome.directory
        if directory is not None and directory.is_relative_to(here):
            directory = directory.relative_to(here)
        texts = (settings, outcome.status, "–" if directory is None else str(directory))
        drawn.add_row(*map(printable, texts))
    console = Console(file=out, width=1000, markup=False, emoji=False, highlight=False)
    console.print(drawn)
    return "\n".join(["", *(line.rstrip() for line in out.getvalue().splitlines())])


def failure_line(outcomes: Sequence[Outcome]) -> str | None:
    """One line about the runs that failed; None if none did."""
    failed = [pair for pair in zip(outcomes, _own_settings(outcomes), strict=True) if pair[0].error is not None]
    if not failed:
        return None
    first, settings = failed[0]
    reason = " ".join(str(first.error).split())[:300] or type(first.error).__name__
    return f"{len(failed)} of {len(outcomes)} runs failed, the first of them {settings}: {reason}"


def _own_settings(outcomes: Sequence[Outcome]) -> list[str]:
    """What was set for each run, without what was set for all of them."""
    everywhere = set.intersection(*(set(outcome.overrides) for outcome in outcomes)) if len(outcomes) > 1 else set()
    own = [[one for one in outcome.overrides if not one.startswith("hydra.")] for outcome in outcomes]
    alone = [[one for one in overrides if one not in everywhere] for overrides in own]
    return [" ".join(some or every) for some, every in zip(alone, own, strict=True)]


def _score(directory: Path | None) -> str:
    """What a run's own record says it came to."""
    file = None if directory is None else directory / record_file.FILE
    if file is None or not file.is_file():
        return "finished"
    try:
        record = record_file.read(file)
    except ValueError:
        return "finished"
    for name in RESULTS:
        value = (record.result(name) or {}).get(str(record.score))
        if value is not None:
            return f"{record.score} {record.scored_by.text(value)} ({name.replace('_', ' ')})"
    return record.status or "finished"

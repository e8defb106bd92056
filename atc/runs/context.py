"""A run that is recorded: opened, given its results, and ended however it ends."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from atc import code, faults, processes
from atc.files import write_whole
from atc.printable import printable
from atc.runs import directories, store, wandb_log
from atc.runs.record import Record, Status
from atc.runs.record_file import FILE, RecordFile
from atc.runs.settings import command_of, plain_settings
from atc.signals import Interrupted

log = logging.getLogger(__name__)


class Run:
    """The record of a run, while it runs.

    Args:
        cfg: the configuration, with output_dir.
        settings: what the record says of the run from its beginning.
        notices: lines for the record.
        resume: go on with the record of the run that was interrupted.
        loggers: what the run logs to.

    Attributes:
        cfg: the configuration.
        settings: as given.
        loggers: as given.
        notices: as given, each of them once.
        directory: the run directory.
        file: results.json.
        begun: whether the record is open.
        replaced: what `leave` puts back.
    """

    def __init__(
        self,
        cfg: DictConfig,
        settings: Mapping[str, Any],
        notices: Sequence[str] = (),
        *,
        resume: bool = False,
        loggers: Sequence[Logger] = (),
    ) -> None:
        """Nothing is written yet."""
        self.cfg, self.settings, self.loggers = cfg, settings, loggers
        self.notices = list(dict.fromkeys(notices))
        self.directory = Path(cfg.output_dir)
        self.file = RecordFile(self.directory / FILE, resume=resume)
        self.begun = False
        self.replaced: dict[Path, bytes] = {}  # files of the finished run that a resume goes on with

    @property
    def record(self) -> Record:
        """What is known of the run so far."""
        return self.file.record

    @property
    def first(self) -> bool:
        """Whether this process, of the several that a run may have, is the one that writes."""
        return bool(rank_zero_only.rank == 0)  # type: ignore[attr-defined]  # not in Lightning's types

    def begin(self) -> None:
        """Write the settings and open the record, once: from here on, however the run ends, its record says so."""
        if self.begun:
            return
        self.begun = True
        if not self.first:
            return
        known = self.record
        if known.status == "finished":
            written = [self.directory / name for name in (FILE, directories.COMPOSED, directories.RESOLVED)]
            self.replaced = {file: file.read_bytes() for file in written if file.is_file()}
        # What a run was trained with before it went on with something else is not forgotten.
        before = [line for line in known.notices or () if str(line).startswith("weights trained")]
        directories.save_config(self.cfg, self.directory)
        self.file.start(
            **self.settings,
            notices=[*before, *(line for line in self.notices if line not in before)],
            code=code.of_config(plain_settings(self.cfg)),
            results=known.results,
        )
        for logger in self.loggers:
            logger.log_hyperparams(plain_settings(self.cfg, resolve=True))
        wandb_log.begin(self.loggers, self.record)

    def note(self, **results: Any) -> None:
        """Put results into the record."""
        self.update(results=results)

    def update(self, **parts: Any) -> None:
        """Put parts into the record; a mapping is merged into what is there."""
        if self.first:
            self.file.update(**parts)

    def end(self, status: Status, error: BaseException | None = None) -> Record:
        """Close the record, and put it into the results store.

        Args:
            status: "finished", "interrupted" or "failed".
            error: what ended the run, if something did.

        Returns:
            The record.
        """
        reason = None if error is None else faults.told(error, command_of(self.cfg)) or faults.first_words(error)
        self.file.update(error=None if reason is None else printable(reason, keep="\n"))
        self.file.finish(status)
        try:
            store.Store(self.cfg.paths.store).append(store.with_settings(self.record, self.cfg))
        except OSError as error:
            raise type(error)(
                error.errno,
                f"{error.strerror}: paths.store={self.cfg.paths.store} did not take the record, which is in "
                f"{self.file.path}",
            ) from error
        try:
            wandb_log.close(self.loggers, self.record, self.file.path)
        except Exception as problem:  # all is recorded; W&B's own errors are of many kinds
            log.warning("W&B was not told how the run ended: %s", problem)
        return self.record

    def leave(self) -> None:
        """Put a finished run that was not trained any further back as it was."""
        for file, content in self.replaced.items():
            write_whole(file, content)
        self.file = RecordFile(self.file.path, resume=True)
        wandb_log.close(self.loggers, self.record, self.file.path)

    def fail(self, error: BaseException) -> None:
        """Record that an error or a signal ended the run, as far as the disk lets us."""
        # A cluster's engine that wants to start the job again leaves it by SystemExit.
        stopped = isinstance(error, (Interrupted, KeyboardInterrupt, SystemExit))
        try:
            self.end("interrupted" if stopped else "failed", error)
        except OSError as second:  # the same full disk; the first error is the one to tell
            log.warning("how the run ended could not be recorded: %s", second)


@contextmanager
def recorded(
    run: Run,
    *,
    cause: Callable[[BaseException], BaseException] = lambda error: error,
    trained: Callable[[], bool] = lambda: True,
) -> Iterator[Run]:
    """However the run ends, its record says so.

    Args:
        run: the run; its record is opened here or later, by `Run.begin`.
        cause: what ended a run, given the error that came out of it.
        trained: whether a training that goes on has trained any further.

    Yields:
        The run.

    Raises:
        BaseException: what ended the run.
    """
    try:
        with processes.of_this_run(run.directory):
            yield run
    except BaseException as problem:
        error = cause(problem)
        if run.first and run.begun:
            if run.replaced and not trained():
                run.leave()
                raise
            if run.record.status == "finished":  # what is missing is its copy in the store
                with suppress(OSError):
                    store.reconcile(run.directory, run.cfg.paths.store, run.cfg)
                raise
            run.fail(error)
        if error is not problem:
            raise error from problem
        raise

"""A run that is recorded: opened, given its results, and ended however it ends."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from atc import code, faults, processes
from atc.files import write_whole
from atc.printable import printable
from atc.runs import directories, record, store, wandb_log
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
        record: results.json.
        begun: whether the record is open.
    """

    def __init__(
        self,
        cfg: DictConfig,
        settings: Mapping[str, Any],
        notices: Sequence[str] = (),
        *,
        resume: bool = False,
        loggers: Sequence[Logger] = (),
    ):
        self.cfg, self.settings, self.loggers = cfg, settings, loggers
        self.notices = list(dict.fromkeys(notices))
        self.directory = Path(cfg.output_dir)
        self.record = record.Record(self.directory / record.FILE, resume=resume)
        self.begun = False
        self.replaced: dict[Path, bytes] = {}  # files of the finished run that a resume goes on with

    @property
    def first(self) -> bool:
        """Whether this process, of the several that a run may have, is the one that writes."""
        return rank_zero_only.rank == 0

    def begin(self) -> None:
        """Write the settings and open the record, once: from here on, however the run ends, its record says so."""
        if self.begun:
            return
        self.begun = True
        if not self.first:
            return
        known = self.record.data
        if known.get("status") == "finished":
            written = [self.directory / name for name in (record.FILE, directories.COMPOSED, directories.RESOLVED)]
            self.replaced = {file: file.read_bytes() for file in written if file.is_file()}
        # What a run was trained with before it went on with something else is not forgotten.
        before = [line for line in known.get("notices") or [] if str(line).startswith("weights trained")]
        directories.save_config(self.cfg, self.directory)
        self.record.start(
            **self.settings,
            notices=[*before, *(line for line in self.notices if line not in before)],
            code=code.of_config(OmegaConf.to_container(self.cfg)),
            results=known.get("results", {}),
        )
        for logger in self.loggers:
            logger.log_hyperparams(OmegaConf.to_container(self.cfg, resolve=True))

    def note(self, **results: Any) -> None:
        """Put results into the record."""
        self.update(results=results)

    def update(self, **entries: Any) -> None:
        """Put entries into the record; a mapping is merged into what is there."""
        if self.first:
            self.record.update(**entries)

    def end(self, status: str, error: BaseException | None = None) -> None:
        """Close the record, and put it into the results store.

        Args:
            status: "finished", "interrupted" or "failed".
            error: what ended the run, if something did.
        """
        command = "train" if "optimizer" in self.cfg else "evaluate"
        said = None if error is None else faults.told(error, command) or faults.first_words(error)
        self.record.update(error=None if said is None else printable(said, keep="\n"))
        self.record.finish(status)
        store.Store(self.cfg.paths.store).append(store.entry(self.cfg, self.record.data))
        try:
            wandb_log.close(self.loggers, self.record.data, self.record.path)
        except Exception as problem:  # all is recorded; W&B's own errors are of many kinds
            log.warning("W&B was not told how the run ended: %s", problem)

    def leave(self) -> None:
        """Put a finished run that was not trained any further back as it was."""
        for file, content in self.replaced.items():
            write_whole(file, content)
        self.record = record.Record(self.record.path, resume=True)
        wandb_log.close(self.loggers, self.record.data, self.record.path)

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
            if run.record.data.get("status") == "finished":  # what is missing is its copy in the store
                with suppress(OSError):
                    store.reconcile(run.directory, run.cfg.paths.store, run.cfg)
                raise
            run.fail(error)
        if error is not problem:
            raise error from problem
        raise

"""Hydra's sweeper for -m: one line for each run that fails, the others go on, and a table at the end.

    python train.py -m reducer=atc_average,tome,topk keep_rate=0.5,0.7,0.9

Hydra's own ends at the first run that failed with that run's traceback, and one of its own.
"""

import logging
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

log = logging.getLogger("atc.sweep")


class Multirun(BasicSweeper):
    """Runs every combination of the values on the command line, as Hydra's basic sweeper does."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run them all; ValueError, one line, if some failed.

        Args:
            arguments: the command line's overrides.
        """
        from atc.config.errors import Complaint
        from atc.grids import given, outcomes

        assert self.launcher is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given.check_not_empty(parser.parse_overrides([*self._parse_config(), *arguments]))
        every = self.launcher = _Every(self.launcher)
        returned = super().sweep(arguments)
        log.info(outcomes.outcome_table(every.outcomes))
        wrong = outcomes.failure_line(every.outcomes)
        if wrong is not None:
            raise Complaint(wrong)
        return returned


class _Every(Launcher):
    """A launcher that notes what became of each run, and hands none of them on as failed."""

    def __init__(self, launcher: Launcher):
        self.launcher = launcher
        self.outcomes: list[Any] = []

    def setup(self, **_: Any) -> None:
        """Nothing to do: it wraps one that is set up."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Launch jobs; what a launcher has not run when it fails counts as failed."""
        from atc.grids import outcomes

        returned: list[JobReturn] = []
        stopped: Exception | None = None
        try:
            returned = list(self.launcher.launch(job_overrides, initial_job_idx))
        except Exception as error:  # as some do for all runs when one of their processes is killed
            stopped = error
            log.warning("the launcher stopped: %s", " ".join(str(error).split())[:300])
        done = [outcomes.outcome_of(result, one) for result, one in zip(returned, job_overrides, strict=False)]
        rest = [outcomes.Outcome(one, "no result", None, stopped) for one in job_overrides[len(done) :]]
        self.outcomes += [*done, *rest]
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=None) for _ in job_overrides]

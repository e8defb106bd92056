"""Hydra's sweeper for the files of sweeps/: grids with tied axes, finished runs skipped, failed ones retried.

    python train.py --config-dir sweeps -cn digits_all                          what is missing
    python train.py --config-dir sweeps -cn digits_all --dry-run                says what that is
    python train.py --config-dir sweeps -cn digits_all reducer=tome,random      a part of the grid
    python train.py --config-dir sweeps -cn digits_all hydra/launcher=joblib    several runs at a time
    python train.py --config-dir sweeps -cn digits_all hydra.sweeper.rerun=changed     what was done with other code

Runs on any launcher. Hydra imports plug-ins at every start: nothing here imports torch before there is a sweep.
"""

import itertools
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

log = logging.getLogger("atc.sweep")

CHANGED = "changed"  # of rerun


class Job(NamedTuple):
    """A run of the sweep; wrong: why its settings are none to run with, if they are not."""

    overrides: list[str]
    cfg: DictConfig
    identity: str
    directory: Path
    wrong: str | None = None


class Grid(Sweeper):
    """Runs the points of `grids` that the results store does not hold yet.

    On the command line `axis=value` (or several, with commas) selects from the grids that have the axis; anything else
    is set for every run, once per value where there are several: seed=0,1,2.

    Args:
        grids: each a mapping from settings to the value or values they take; the runs of a grid are the product of its
            axes, and a sweep runs one grid after another.
        out_of_reach: points that no run can have, as settings with their values, of which a list means any; left out,
            and shown as such, as are methods that need training where nothing is trained.
        dry_run: only say what is done and what is missing.
        rerun: True runs what is done again; "changed" only what was done with other code than today's.
    """

    def __init__(
        self,
        grids: Sequence[Mapping[str, Any]],
        out_of_reach: Sequence[Mapping[str, Any]] = (),
        dry_run: bool = False,
        rerun: bool | str = False,
    ):
        self.grids, self.out_of_reach, self.dry_run, self.rerun = grids, out_of_reach, dry_run, rerun
        self.config: DictConfig
        self.hydra_context: HydraContext
        self.launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over: what to compose with and what to launch."""
        self.config, self.hydra_context = config, hydra_context
        handed: Any = {"hydra_context": hydra_context, "task_function": task_function, "config": config}
        self.launcher = Plugins.instance().instantiate_launcher(**handed)

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Run what is missing; ValueError, one line, if runs failed, of overrides `arguments`."""
        from atc.config.errors import Complaint
        from atc.grids import grid, outcomes
        from atc.grids.progress import Progress

        grid.check_command(self.config.hydra.job.config_name, self.config.hydra.job.name, sys.argv[0])
        self._check()
        jobs = self.jobs(arguments)
        grid.check_name(self.config.hydra.job.config_name, [job.cfg.get("sweep") for job in jobs.values()])
        progress = Progress(self.config.paths.store, jobs)
        if not self.dry_run:
            progress.reconcile()
        adopted = 0 if self.dry_run else progress.adopt()
        pending = list(jobs.values()) if self.rerun is True else progress.missing()
        if self.rerun == CHANGED:
            pending = [jobs[name] for name in progress.changed()]
        log.info(progress.text(self.config.hydra.job.config_name, self.dry_run))
        if adopted:
            log.info("%d of the runs are from other sweeps, and now belong to this one as well", adopted)
        wrong = [job for job in pending if job.wrong is not None]
        if wrong and (self.dry_run or len(wrong) == len(pending)):
            raise Complaint(progress.refusal(wrong))
        if self.dry_run or not pending:
            return []
        asked = {job.identity for job in pending}
        returned, found = self._launch(progress, pending)
        log.info(outcomes.outcome_table(found.values()))
        progress.adopt()
        # One that was done before and fails when it is run again is not missing.
        missing = {job.identity for job in progress.missing()} & asked
        errors = {name: one.error for name, one in found.items() if one.error is not None}
        elsewhere = {name for name, one in found.items() if one.status == outcomes.ELSEWHERE}
        failed = [job for name, job in jobs.items() if name in (missing | errors.keys()) - elsewhere]
        elsewhere &= missing if self.rerun is False else elsewhere  # else it has been done by now
        if failed:
            raise Complaint(progress.complaint(failed, errors))
        if elsewhere:
            log.info("%s; the same command says when it is done", _count(len(elsewhere), outcomes.ELSEWHERE))
        else:
            log.info("all %d runs are done", len(asked if self.rerun == CHANGED else jobs))
        return returned

    def _launch(self, progress: Any, pending: list[Job]) -> tuple[list[JobReturn], dict[str, Any]]:
        """Run jobs, again and again those that a launcher did not come to; what became of each, by identity."""
        from atc.grids import outcomes

        outcomes.make_directory(pending[0].directory.parent)
        returned: list[JobReturn] = []
        found: dict[str, outcomes.Outcome] = {}
        stopped = "the launcher has not begun it"
        while pending:
            before = progress.attempts()
            try:
                results = self.launcher.launch([progress.command(job) for job in pending], len(returned))
            except Exception as error:
                # Some launchers give up on all runs when one of their processes is killed.
                stopped = f"the launcher stopped: {' '.join(str(error).split())[:300]}"
                log.warning(stopped)
                results = []
            for job, result in zip(pending, results, strict=False):
                found[job.identity] = outcomes.outcome_of(result, job.overrides)
                if found[job.identity].error is not None:
                    progress.note_failure(job, result._return_value, since=before)
            returned += results
            after = progress.attempts()
            untouched = [job for job in pending if after[job.identity] == before[job.identity]]
            if results:
                break
            if len(untouched) == len(pending):
                found |= {job.identity: outcomes.Outcome(job.overrides, "failed", None, stopped) for job in pending}
                break
            pending = untouched
        return returned, found

    def _check(self) -> None:
        """ValueError for settings of the sweeper that are none."""
        from atc.config.sections import check_grids

        if not isinstance(self.dry_run, bool):
            raise ValueError(f"hydra.sweeper.dry_run={self.dry_run} must be true or false")
        if not (isinstance(self.rerun, bool) or self.rerun == CHANGED):
            raise ValueError(f"hydra.sweeper.rerun={self.rerun} must be true, false or {CHANGED}")
        plain = [
            OmegaConf.to_object(part) if OmegaConf.is_config(part) else part for part in (self.grids, self.out_of_reach)
        ]
        check_grids(*plain)

    def jobs(self, arguments: Iterable[str]) -> dict[str, Job]:
        """The runs of the sweep by identity; two points that come to the same run are one."""
        from atc.config import combinations, from_files
        from atc.grids import multirun
        from atc.runs.identity import identity

        multirun.check_sweep(self.config.hydra)
        jobs: dict[str, Job] = {}
        for overrides in self.points(arguments):
            cfg = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
            from_files.check(cfg, cfg.hydra.job.name, cfg.hydra)
            with open_dict(cfg):
                cfg.choices = combinations.chosen_options(cfg.hydra.runtime)
                directory = Path(cfg.hydra.sweep.dir).resolve()
                del cfg["hydra"]
            wrong = self._wrong(cfg)  # before the identity, for which 4.0 is 4
            name = identity(cfg)
            jobs.setdefault(name, Job([*overrides, f"hydra.sweep.subdir={name}"], cfg, name, directory / name, wrong))
        return jobs

    def _wrong(self, cfg: DictConfig) -> str | None:
        """Why a configuration cannot be run, as the run itself would say it; nothing is built for that."""
        from atc.config.check import check
        from atc.config.errors import one_line

        command = self.config.hydra.job.name
        saved = cfg.get("resume" if command == "train" else "checkpoint") not in (None, "auto")
        try:
            check(cfg, command, partly=saved)
        except (ValueError, OmegaConfBaseException) as error:
            return one_line(error, command)
        return None

    def points(self, arguments: Iterable[str]) -> list[list[str]]:
        """The overrides of each run."""
        from atc.config import from_files, untrained
        from atc.grids import grid
        from atc.grids.given import check_not_empty, single, values

        given = OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(list(arguments))
        check_not_empty(given)
        axes = {axis for one in self.grids for axis in one}
        selected = {item.key_or_group: item for item in given if item.key_or_group in axes}
        common = [single(item) for item in given if item.key_or_group not in axes]
        cells, every = [], grid.points(self.grids)
        trained = any(item.key_or_group == "checkpoint" for item in given)
        learning = (
            [] if trained else untrained.points(self.config, self.grids, from_files.directories(self.config.hydra))
        )
        outside = [*self.out_of_reach, *learning]
        unused = {
            axis: [v for v in values(item) if all(cell.get(axis) != v for cell in every)]
            for axis, item in selected.items()
        }
        for cell in every:
            if any(axis in cell and cell[axis] not in values(item) for axis, item in selected.items()):
                continue
            # What one grid has for an axis is for the runs of a grid without it a setting like any other.
            added = [item for axis, item in selected.items() if axis not in cell and not _needless(axis, cell)]
            typed = [f"{axis}={value}" for axis, value in cell.items()]
            for axis in selected.keys() - cell.keys():
                unused[axis] = []
            for chosen in itertools.product(*(zip(values(item), single(item), strict=True) for item in added)):
                point = cell | {item.key_or_group: value for item, (value, _) in zip(added, chosen, strict=True)}
                if not grid.within(point, outside):
                    cells.append([*typed, *(override for _, override in chosen)])
        if (lacking := {axis: some for axis, some in unused.items() if some}) or not cells:
            wanted = lacking if cells else {axis: values(item) for axis, item in selected.items()}
            said = " ".join(f"{axis}={','.join(some)}" for axis, some in wanted.items())
            asked = values(selected["reducer"]) if "reducer" in selected else []
            left = [part["reducer"] for part in learning if part["reducer"] in asked]
            why = f"off the shelf, {', '.join(left)} would be untrained; " if left else ""
            name = self.config.hydra.job.config_name
            raise ValueError(f"no run of {name} has {said}; {why}its grids: {grid.grids_text(self.grids)}")
        return [[*cell, *rest] for cell in cells for rest in itertools.product(*common)]


def _count(number: int, what: str) -> str:
    return f"{number} runs are {what}" if number > 1 else f"1 run is {what}"


def _needless(axis: str, cell: Mapping[str, str]) -> bool:
    """Whether a setting means nothing for a point, as that of a reduction without one."""
    from atc.grids import grid

    return cell.get("reducer") == "none" and axis.partition(".")[0] in grid.OF_THE_METHOD

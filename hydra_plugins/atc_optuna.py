"""Hydra's sweeper for searches with Optuna, which proposes the runs: hydra/sweeper=optuna.

    python train.py -m hydra/sweeper=optuna reducer=tome hydra.sweeper.trials=30
    python train.py -m hydra/sweeper=optuna reducer=tome 'optimizer.lr=tag(log,interval(1e-5,1e-3))'

Why not the package hydra-optuna-sweeper: it is held at Optuna 2, whose storages no longer work with the libraries of
today, so that a search that is stopped loses what it found. Here it lies in a journal file, to which several
processes may write.
"""

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from atc.files import write_whole

log = logging.getLogger("atc.search")

HOPELESS = 3  # failures in a row after which a search is given up


class Search(Sweeper):
    """Runs trials that Optuna proposes until enough of them are finished.

    Args:
        space: settings with the values to choose from, as Hydra writes sweeps: choice(...), range(...), interval(...),
            tag(log, interval(...)).
        trials: how many, those of an earlier start of the same search included.
        at_once: how many are launched together.
        direction: maximize or minimize what a run returns.
        sampler: one of optuna.samplers.
        directory: where the journals are.
        dry_run: only say how far the search has come.
    """

    def __init__(
        self,
        space: Mapping[str, str] | None,
        trials: int,
        at_once: int,
        direction: str,
        sampler: Mapping[str, Any],
        directory: str,
        dry_run: bool = False,
    ):
        self.space, self.trials, self.at_once, self.direction = dict(space or {}), trials, at_once, direction
        self.sampler, self.directory, self.dry_run = sampler, Path(directory), dry_run
        self.config: DictConfig
        self.launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over: what to launch."""
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Run what is left of the search.

        Args:
            arguments: the command line's overrides; those that name several values belong to the space.

        Raises:
            ValueError: trial after trial fails; one line.
        """
        from atc.grids.given import check_not_empty

        optuna = _optuna()
        for key, value in (("trials", self.trials), ("at_once", self.at_once)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"hydra.sweeper.{key}={value} must be a whole number, 1 or more")
        if not isinstance(self.dry_run, bool):
            raise ValueError(f"hydra.sweeper.dry_run={self.dry_run} must be true or false")
        if self.direction not in ("maximize", "minimize") or min(self.trials, self.at_once) < 1:
            raise ValueError(
                f"hydra.sweeper: direction={self.direction} is maximize or minimize; trials={self.trials} and "
                f"at_once={self.at_once} are 1 or more"
            )
        given = OverridesParser.create().parse_overrides(arguments)
        check_not_empty(item for item in given if not isinstance(item.value(), Glob))
        fixed = [str(item.input_line) for item in given if not item.is_sweep_override()]
        said = {item.get_key_element(): item for item in given}
        space = {key: item for key, item in self._space().items() if key not in said}
        space |= {key: item for key, item in said.items() if item.is_sweep_override()}
        distributions = {key: _distribution(optuna, item) for key, item in space.items()}
        if not distributions:
            raise ValueError("nothing to search: hydra.sweeper.space is empty, or the command line fixes all of it")
        name = _name(
            [self.config.hydra.job.config_name, self.direction, sorted(fixed), sorted(map(str, space.items()))]
        )
        file = self.directory / f"{name}.log"
        text = ", ".join(str(item.input_line) for item in space.values())
        if self.dry_run and not file.is_file():
            log.info("search %s over %s: 0 of %d trials finished", name, text, self.trials)
            return []
        file.parent.mkdir(parents=True, exist_ok=True)
        journal = optuna.storages.journal
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(journal.JournalFileBackend(str(file))),
            study_name=name,
            direction=self.direction,
            load_if_exists=True,
        )
        # From where a stopped search was: the same seed again would propose the same again.
        seed = {"seed": self.sampler["seed"] + len(study.get_trials(deepcopy=False))} if "seed" in self.sampler else {}
        study.sampler = instantiate(self.sampler, **seed)
        log.info("search %s over %s: %d of %d trials finished", name, text, _finished(study), self.trials)
        if self.dry_run:
            return []
        return self._run(optuna, study, fixed, distributions)

    def _space(self) -> dict[str, Override]:
        lines = [f"{key}={value}" for key, value in self.space.items() if value is not None]
        return {item.get_key_element(): item for item in OverridesParser.create().parse_overrides(lines)}

    def _run(self, optuna: Any, study: Any, fixed: Sequence[str], distributions: Mapping[str, Any]) -> list[JobReturn]:
        from atc.config.errors import Complaint
        from atc.grids import outcomes
        from atc.runs import lock

        state = optuna.trial.TrialState
        claims = self.directory / f"{study.study_name}.claims"  # what the processes of this search are at
        for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
            if lock.holder(claims / str(trial.number)) is None:  # it was cut off with the process that ran it
                study.tell(trial.number, state=state.FAIL)
                study.enqueue_trial(trial.params)
        results: list[JobReturn] = []
        done: list[outcomes.Outcome] = []
        in_a_row: list[str] = []
        while _finished(study) < self.trials:
            number = min(self.at_once, self.trials - _finished(study))
            asked = [study.ask(dict(distributions)) for _ in range(number)]
            jobs = [
                [
                    *fixed,
                    *(f"{key}={value}" for key, value in trial.params.items()),
                    f"hydra.sweep.subdir={trial.number}",
                ]
                for trial in asked
            ]
            with ExitStack() as stack:
                for trial in asked:
                    stack.enter_context(lock.claimed(claims / str(trial.number)))
                returned = list(self.launcher.launch(jobs, len(results)))
            results += returned
            done += [outcomes.outcome_of(result, job) for result, job in zip(returned, jobs, strict=True)]
            reasons = [_tell(study, state, trial, result) for trial, result in zip(asked, returned, strict=True)]
            in_a_row = [*in_a_row, *reasons] if all(reasons) else []
            if len(in_a_row) >= HOPELESS:
                log.info(outcomes.outcome_table(done))
                raise Complaint(f"{len(in_a_row)} trials failed one after another, the first of them: {in_a_row[0]}")
        if done:
            log.info(outcomes.outcome_table(done))
        best = study.best_trial
        found = {"score": best.value, "settings": dict(best.params)}
        file = Path(self.config.hydra.sweep.dir) / "best.yaml"
        write_whole(file, OmegaConf.to_yaml(OmegaConf.create(found)))
        log.info("best of %d trials: %.4f with %s", _finished(study), best.value, _typed(best.params))
        return results


def _tell(study: Any, state: Any, trial: Any, result: JobReturn) -> str:
    """Report the score of a trial to Optuna; why it failed, or nothing."""
    value = result._return_value
    if result.status != JobStatus.COMPLETED:
        study.tell(trial, state=state.FAIL)
        return " ".join(str(value).split())[:200] or type(value).__name__
    if not isinstance(value, int | float):
        study.tell(trial, state=state.FAIL)
        return "the run has no score on validation to go by: search with train.py, and with validation in it"
    if not math.isfinite(value):
        study.tell(trial, state=state.FAIL)
        return f"the run's score on validation is {value}"
    study.tell(trial, float(value))
    log.info("trial %d: %.4f with %s", trial.number, value, _typed(trial.params))
    return ""


def _finished(study: Any) -> int:
    return sum(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False))


def _distribution(optuna: Any, item: Override) -> Any:
    """Optuna's name for what Hydra's sweep syntax says."""
    value = item.value()
    if not item.is_sweep_override():
        raise ValueError(
            f"{item.input_line}: a space is choice(...), range(...), interval(...) or tag(log, interval(...))"
        )
    if isinstance(value, IntervalSweep):
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
        return kind(value.start, value.end, log="log" in value.tags)
    return optuna.distributions.CategoricalDistribution(list(item.sweep_string_iterator()))


def _name(what: object) -> str:
    """A search is known by what it searches, so that the same command finds it again."""
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]


def _typed(params: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in params.items())


def _optuna() -> Any:
    try:
        import optuna
        import optuna.storages.journal
    except ImportError as error:
        raise ValueError("hydra/sweeper=optuna needs Optuna 4 or newer: pip install 'atc-toolkit[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna

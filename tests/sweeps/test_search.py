"""The search for learning rate and warm-up with Optuna, as typed: run, stopped, gone on with; and its mistakes."""

import json
import os
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from atc.runs import lock
from atc.runs.store import Store
from hydra_plugins.atc_optuna import Search, _tell
from tests.harness import forked
from tests.harness.commands import ROOT, TINY, environment

optuna = pytest.importorskip("optuna", reason="needs the extra optuna: pip install optuna")

QUICK = [*TINY, "trainer.max_epochs=2", "reducer=random", "baselines=false", "logger=none"]
SPACE = ["optimizer.warmup_epochs=choice(0,1)"]  # of two epochs, not of thirty


def command(*arguments: str) -> list[str]:
    space = [] if any(argument.startswith("optimizer.warmup_epochs") for argument in arguments) else SPACE
    return [str(ROOT / "train.py"), "-m", "hydra/sweeper=optuna", *QUICK, *space, *arguments]


def search(here: Path, *arguments: str) -> tuple[int, str]:
    run = forked.run(command(*arguments), here, environment(), timeout=400)
    return run.returncode, run.stdout + run.stderr


def trials(here: Path) -> list[optuna.trial.FrozenTrial]:
    (file,) = (here / "runs" / "searches").glob("*.log")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    return optuna.load_study(study_name=file.stem, storage=storage).trials


@pytest.mark.slow
def test_a_search_that_goes_on(tmp_path: Path) -> None:
    """Killed in its first trial, which is run again; then two trials; then one more for a longer search."""
    process = forked.start(command("hydra.sweeper.trials=2"), tmp_path, environment())
    end = time.monotonic() + 100
    while not list(tmp_path.glob("runs/train_sweep/*/0/results.json")) and time.monotonic() < end:
        time.sleep(0.05)
    process.kill()
    (cut,) = trials(tmp_path)
    assert cut.state.name == "RUNNING"

    status, said = search(tmp_path, "hydra.sweeper.trials=2")
    assert status == 0, said
    assert "0 of 2 trials finished" in said
    found = [trial for trial in trials(tmp_path) if trial.state.name == "COMPLETE"]
    assert found[0].params == cut.params
    assert {*cut.params} == {"optimizer.lr", "optimizer.warmup_epochs", "optimizer.backbone_lr_scale"}
    records = [record for record in Store(tmp_path / "runs" / "store").records() if record.status == "finished"]
    assert [record.results["validation"]["accuracy"] for record in records] == [trial.value for trial in found]
    assert [record.config["optimizer"]["lr"] for record in records] == [t.params["optimizer.lr"] for t in found]
    assert all(1e-5 <= trial.params["optimizer.lr"] <= 2e-3 for trial in found)
    assert found[0].params["optimizer.lr"] != found[1].params["optimizer.lr"]

    status, said = search(tmp_path, "hydra.sweeper.trials=3")
    assert status == 0, said
    assert "2 of 3 trials finished" in said
    assert said.count("Launching 1 jobs") == 1
    best = max((trial for trial in trials(tmp_path) if trial.value is not None), key=lambda trial: trial.value)
    newest = max(tmp_path.glob("runs/train_sweep/*/best.yaml"), key=os.path.getmtime)
    assert OmegaConf.load(newest).score == best.value
    json.dumps(OmegaConf.to_container(OmegaConf.load(newest)))


def test_what_there_is_to_search(tmp_path: Path) -> None:
    status, said = search(tmp_path, "--dry-run")
    assert status == 0, said
    assert "0 of 20 trials finished" in said
    assert "optimizer.lr=tag(log, interval(1e-5, 2e-3))" in said
    assert not (tmp_path / "runs" / "searches").exists()


def test_a_number_of_trials_is_a_number() -> None:
    for settings, said in (({"trials": "x"}, "trials=x"), ({"at_once": 1.5}, "at_once=1.5")):
        search = Search(
            {}, **{"trials": 1, "at_once": 1, "direction": "maximize", "directory": "runs"} | settings, sampler={}
        )
        with pytest.raises(ValueError, match=f"^hydra.sweeper.{said} must be a whole number, 1 or more$"):
            search.sweep([])


@pytest.mark.parametrize("busy", [True, False])
def test_trials_of_another_process_are_left_to_it(tmp_path: Path, busy: bool) -> None:
    """A search is joined; what was cut off with its process is done again."""
    lines = []

    def launch(jobs: list[list[str]], _: int) -> list[JobReturn]:
        lines.extend(jobs)
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=0.5) for _ in jobs]

    search = Search({}, trials=1, at_once=1, direction="maximize", sampler={}, directory=str(tmp_path))
    search.launcher = SimpleNamespace(launch=launch)  # type: ignore[assignment]
    search.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "sweep")}}})
    study = optuna.create_study(study_name="mine", direction="maximize")
    space = {"optimizer.lr": optuna.distributions.FloatDistribution(0.0, 1.0)}
    cut = study.ask(space)
    with lock.claimed(tmp_path / "mine.claims" / "0") if busy else nullcontext():
        search._run(optuna, study, [], space)
    assert study.trials[0].state.name == ("RUNNING" if busy else "FAIL")
    assert (lines[0][0] == f"optimizer.lr={cut.params['optimizer.lr']}") is not busy


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["optimizer.warmup_epochs=choice(7,8)"],
            "3 trials failed one after another, the first of them: optimizer.warm",
        ),
        (["hydra.sweeper.direction=up"], "hydra.sweeper: direction=up is maximize or minimize"),
        (["hydra.sweeper.space=null", "optimizer.warmup_epochs=0"], "nothing to search"),
        (
            ["hydra.sweeper.space={optimizer.lr: 3}"],
            "optimizer.lr=3: a space is choice(...), range(...), interval(...) or tag(log, interval(...))",
        ),
    ],
)
def test_mistakes_get_one_line(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    status, said = search(tmp_path, *arguments)
    assert status == 2, said
    assert said.splitlines()[-1].startswith(f"error: {complaint}"), said
    assert "Traceback" not in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_score_that_is_not_finite_is_a_failed_trial(value: float | None) -> None:
    study = optuna.create_study(direction="maximize")
    result = JobReturn(_return_value=value, status=JobStatus.COMPLETED)
    assert "score on validation" in _tell(study, optuna.trial.TrialState, study.ask(), result)
    assert [trial.state.name for trial in study.trials] == ["FAIL"]
    assert not _tell(
        study, optuna.trial.TrialState, study.ask(), JobReturn(_return_value=0.5, status=JobStatus.COMPLETED)
    )
    assert study.best_value == 0.5

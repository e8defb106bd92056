"""Two processes do not do a run of a sweep twice; what was done with other code than today's is known."""

import json
import logging
import multiprocessing
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from atc import code
from atc.grids import claim, multirun, outcomes
from atc.grids.progress import Progress
from atc.runs import identity, lock
from atc.runs.record import Record
from atc.runs.store import Store
from hydra_plugins.atc_grid import Grid, Job
from tests.report.records import parts

NAMES = [f"run{number}" for number in range(6)]


def hydra(rerun: bool | str = False) -> Any:
    sweeper = OmegaConf.create({"_target_": multirun.SWEEPER, "rerun": rerun})
    return SimpleNamespace(mode=RunMode.MULTIRUN, sweeper=sweeper)


def config(store: Path, name: str, sweep: str = "one", **groups: Any) -> DictConfig:
    directory = str(store.parent / sweep / name)
    return OmegaConf.create({"output_dir": directory, "paths": {"store": str(store)}, "sweep": sweep, **groups})


def _sweep(store: Path, sweep: str, order: int) -> None:
    """Go through all runs, as the jobs of a sweep do."""

    def run(cfg: DictConfig) -> Record:
        time.sleep(0.1)
        own = {"identity": Path(cfg.output_dir).name, "finished": f"{time.time()}"}
        done = Record.read(parts(sweep, 0.5) | own)
        Store(store).append(done)
        return done

    for name in NAMES[::order]:
        try:
            multirun.run_once(config(store, name, sweep), hydra(), run)
        except lock.InUse:
            continue


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_each_run_is_done_once(tmp_path: Path) -> None:
    """By two processes of one sweep and one of another sweep that shares its runs, in any order."""
    context = multiprocessing.get_context("fork")
    sweeps = [("one", 1), ("one", -1), ("two", 1)]
    processes = [context.Process(target=_sweep, args=(tmp_path / "store", *sweep)) for sweep in sweeps]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    done = [found.identity for found in Store(tmp_path / "store").records()]
    assert sorted(done) == NAMES


def test_who_is_doing_it(tmp_path: Path) -> None:
    assert claim.holder(tmp_path, "a") is None
    with claim.claimed(tmp_path, "a"):
        assert claim.holder(tmp_path, "b") is None
        assert "process" in str(claim.holder(tmp_path, "a"))
    assert claim.holder(tmp_path, "a") is None
    assert Store(tmp_path).records() == []


def test_what_was_done_meanwhile_is_left_alone(tmp_path: Path) -> None:
    def never(_: DictConfig) -> Record:
        raise AssertionError

    first = Record.read(parts("one", 0.5) | {"identity": "run0", "code": {"reducer": "0" * 12}})
    Store(tmp_path).append(first)
    cfg = config(tmp_path, "run0", reducer={"_target_": "reducers.tome.ToMe"})
    assert multirun.run_once(cfg, hydra(), never) == first
    for rerun in (True, "changed"):  # on purpose; with other code
        with pytest.raises(AssertionError):
            multirun.run_once(cfg, hydra(rerun), never)
    alone = SimpleNamespace(mode=RunMode.RUN, sweeper={})
    with pytest.raises(AssertionError):
        multirun.run_once(cfg, alone, never)


def grid(store: Path, jobs: list[Job], launched: list[list[str]], results: list[Any], **settings: Any) -> Grid:
    """A sweep with these jobs, whose launcher notes what it is given, and hands on these errors or None."""

    def launch(overrides: list[list[str]], _: int) -> list[JobReturn]:
        launched.extend(overrides)
        returned = []
        for error in results[: len(overrides)]:
            status = JobStatus.COMPLETED if error is None else JobStatus.FAILED
            returned.append(JobReturn(status=status, _return_value=error))
        return returned

    sweeper = Grid([{"reducer": "tome"}], **settings)
    section = {"job": {"name": "train", "config_name": "one"}}
    sweeper.config = OmegaConf.create({"hydra": section, "paths": {"store": str(store)}})
    sweeper.launcher = SimpleNamespace(launch=launch)  # type: ignore[assignment]
    sweeper.jobs = lambda _: {job.identity: job for job in jobs}  # type: ignore[method-assign]
    return sweeper


def job(store: Path, name: str) -> Job:
    cfg = config(store, name, reducer={"_target_": "reducers.tome.ToMe"})
    return Job([f"reducer={name}"], cfg, name, store.parent / name)


def test_a_run_of_another_process_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    jobs = [job(tmp_path, name) for name in ("run0", "run1")]
    busy = lock.InUse("runs/x is in use by process 7")
    grid(tmp_path, jobs, [], [busy, busy]).sweep([])
    assert "2 runs are being done by another process; the same command says when it is done" in caplog.text
    with pytest.raises(ValueError, match="1 of 2 runs are not done, the first of them reducer=run1: no weights"):
        grid(tmp_path, jobs, [], [busy, ValueError("no weights")]).sweep([])


def test_only_what_has_other_code_now(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Records without a hash count as done; runs that were never done are not what rerun=changed is about."""
    caplog.set_level(logging.INFO)
    today = code.of_target("reducers.tome.ToMe")
    for name, known in (("same", {"reducer": today}), ("other", {"reducer": "0" * 12}), ("unknown", None)):
        Store(tmp_path).append(Record.read(parts("one", 0.5) | {"identity": name, "code": known}))
    jobs = [job(tmp_path, name) for name in ("same", "other", "unknown", "never")]

    grid(tmp_path, jobs, [], [], dry_run=True).sweep([])
    assert "one: 4 runs; 3 done, 1 missing; code changed since 1 of them" in caplog.text
    assert "done     other  reducer=other  (code changed since: reducer)" in caplog.text
    assert caplog.text.count("(code changed since") == 1

    launched: list[list[str]] = []
    grid(tmp_path, jobs, launched, [None], rerun="changed").sweep([])
    assert launched == [["reducer=other"]]
    launched.clear()
    with pytest.raises(ValueError, match="1 of 4 runs are not done"):
        grid(tmp_path, jobs, launched, [None]).sweep([])
    assert launched == [["reducer=never"]]
    launched.clear()
    with pytest.raises(ValueError, match="never"):
        grid(tmp_path, jobs, launched, [None] * 4, rerun=True).sweep([])
    assert len(launched) == 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rerun": "chagned"}, "hydra.sweeper.rerun=chagned must be true, false or changed"),
        ({"rerun": 1}, "hydra.sweeper.rerun=1 must be true, false or changed"),
        ({"dry_run": "yes"}, "hydra.sweeper.dry_run=yes must be true or false"),
        ({"out_of_reach": 3}, "out_of_reach=3 must be a list of mappings"),
    ],
)
def test_settings_of_the_sweeper(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        grid(tmp_path, [], [], [], **settings).sweep([])


def test_a_damaged_record_is_one_that_was_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = job(tmp_path / "store", "run0")
    one.directory.mkdir()
    (one.directory / "results.json").write_text('{"status": "fin')
    assert Progress(tmp_path / "store", {"run0": one}).states() == {"run0": "cut off"}
    assert "results.json is damaged" in caplog.text


def test_what_was_finished_and_never_entered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A process was killed between the end of its run and its entry into the store: the next sweep enters it."""
    caplog.set_level(logging.INFO)
    one = job(tmp_path / "store", "placeholder")
    one = one._replace(identity=identity.identity(one.cfg))
    one.directory.mkdir()
    times = {"started": "2026-01-31T12:00:00+00:00", "finished": "2026-01-31T12:01:00+00:00"}
    (one.directory / "results.json").write_text(json.dumps({"status": "finished", "results": {}, "seed": 0, **times}))
    grid(tmp_path / "store", [one], [], [], dry_run=True).sweep([])
    assert "1 runs; 1 done" in caplog.text
    assert Store(tmp_path / "store").records() == []
    launched: list[list[str]] = []
    for _ in range(2):
        grid(tmp_path / "store", [one], launched, [None]).sweep([])
    assert launched == []
    (found,) = Store(tmp_path / "store").records()
    assert (found.identity, found.status) == (one.identity, "finished")


def test_the_table_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "results.json").write_text(
        '{"score": "accuracy", "results": {"dense": {"accuracy": 0.9}, "off_the_shelf": {"accuracy": 0.8765}}}'
    )

    def returned(number: int, error: Exception | None) -> JobReturn:
        cfg = OmegaConf.create({"hydra": {"runtime": {"output_dir": str(tmp_path / str(number))}}})
        status = JobStatus.FAILED if error else JobStatus.COMPLETED
        return JobReturn(hydra_cfg=cfg, status=status, _return_value=error)

    lines = [["seed=3", f"reducer={name}", "hydra.sweep.subdir=x"] for name in ("topk", "to\x1bme", "evit")]
    errors = [None, ValueError("no\nweights"), lock.InUse("busy")]
    results = [returned(number, error) for number, error in enumerate(errors)]
    found = [outcomes.outcome_of(result, line) for result, line in zip(results, lines, strict=True)]
    rows = [[cell.strip() for cell in line.split("│")] for line in outcomes.outcome_table(found).splitlines()[3:]]
    assert rows == [
        ["reducer=topk", "accuracy 87.65 % (off the shelf)", str(tmp_path / "0")],
        ["reducer=to\\x1bme", "failed", "–"],
        ["reducer=evit", "being done by another process", "–"],
    ]
    assert outcomes.failure_line(found) == "1 of 3 runs failed, the first of them reducer=to\x1bme: no weights"
    assert outcomes.failure_line(found[:1]) is None

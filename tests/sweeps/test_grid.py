"""Sweeps as typed: what is run, skipped, retried, and what a killed one leaves to do."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from atc.grids import grid
from atc.grids.progress import Progress
from atc.report import layout, report
from atc.runs.record import Record
from atc.runs.store import Store
from hydra_plugins.atc_grid import Grid, Job
from tests.harness import forked
from tests.harness.commands import ROOT, TINY, environment
from tests.report.records import parts

GRID = """\
defaults:
  - train
  - override hydra: sweep
  - override hydra/sweeper: grid
  - override logger: none
  - _self_
sweep: small
baselines: off_the_shelf
hydra:
  sweeper:
    grids:
      - {reducer: none, baselines: true}
      - {reducer: [tome, topk], keep_rate: [0.25, 0.5]}
      - {reducer: evit, backbone.checkpoint: later.safetensors}
    out_of_reach:
      - {reducer: tome, keep_rate: 0.25}
report:
  {title: Small, kind: table, settings: [off_the_shelf, fine_tuned], rows: [setting, reducer], columns: [keep_rate]}
"""
QUICK = [*TINY, "trainer.max_epochs=1", "optimizer.warmup_epochs=0"]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "small.yaml").write_text(GRID)
    return tmp_path


def start(here: Path, *arguments: str, script: str = "train.py") -> forked.Child:
    line = [str(ROOT / script), "--config-dir", "sweeps", "-cn", "small", *QUICK, *arguments]
    return forked.start(line, here, environment())


def sweep(here: Path, *arguments: str, script: str = "train.py") -> tuple[int, str]:
    process = start(here, *arguments, script=script)
    said, _ = process.communicate(timeout=400)
    return process.returncode, said


def test_dry_run(here: Path) -> None:
    status, said = sweep(here, "--dry-run", "seed=0,1")
    assert status == 0, said
    assert "small: 10 runs; 10 missing" in said
    assert "reducer=topk keep_rate=0.25" in said
    assert "reducer=tome keep_rate=0.25" not in said
    assert not (here / "runs" / "store").exists()
    status, said = sweep(here, "--dry-run", "optimizer.warmup_epochs=1", "trainer.max_epochs=1,2")
    assert status == 2
    assert "small: 10 runs; 5 wrong, 5 missing" in said
    assert "5 of 10 runs cannot be run, the first of them reducer=none" in said
    status, said = sweep(here, "--dry-run", "reducer=tome", "keep_rate=0.7")
    assert status == 2
    assert "no run of small has reducer=tome keep_rate=0.7; its grids: reducer=none" in said
    status, said = sweep(here, "--dry-run", script="evaluate.py")
    assert (status, said) == (2, "error: small is a sweep for train.py, not for evaluate.py\n")


@pytest.mark.slow
def test_killed_failed_and_finished(here: Path) -> None:
    """SIGKILL in the middle; then a run fails for want of a file; then it is there."""
    store = here / "runs" / "store"
    process = start(here)
    end = time.monotonic() + 100
    while not list(store.glob("*.json")) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = Store(store).records()
    assert 1 <= len(killed) < 5
    assert {record.status for record in killed} == {"finished"}

    status, said = sweep(here)
    assert status == 2, said
    assert f"{len(killed)} done" in said
    assert "1 of 5 runs are not done, the first of them reducer=evit" in said
    assert "later.safetensors does not exist" in said
    assert Store(store).records()[: len(killed)] == killed
    assert sum(record.status == "failed" for record in Store(store).records()) == 1

    shutil.copy(ROOT / "atc" / "assets" / "vit_digits.safetensors", here / "later.safetensors")
    status, said = sweep(here)
    assert status == 0, said
    assert "small: 5 runs; 4 done, 1 missing" in said
    assert "Launching 1 jobs" in said
    finished = [record for record in Store(store).records() if record.status == "finished"]
    found = {f"{record.reducer} {record.keep_rate}": set(record.results) for record in finished}
    assert set(found) == {"none 0.5", "tome 0.5", "topk 0.25", "topk 0.5", "evit 0.5"}
    assert {"dense", "fine_tuned"} <= found["none 0.5"]
    assert "dense" not in found["tome 0.5"]
    assert {"off_the_shelf", "fine_tuned"} <= found["tome 0.5"]


def test_a_dry_run_does_not_wait_for_torch(here: Path) -> None:
    """Importing it and Lightning takes seconds, listing what is done does not."""
    listed = (
        "import sys, atc.cli\n"
        "sys.argv = ['train.py', '--config-dir', 'sweeps', '-cn', 'small', '--dry-run']\n"
        "atc.cli.train()\n"
        "print('torch' in sys.modules, 'lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", listed], cwd=here, env=environment(), capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False False", done.stdout + done.stderr


def points(grids: list[dict[str, object]], *arguments: str, sources: list[dict[str, str]] | None = None) -> list[str]:
    """The runs of grids for a command line, without composing them.

    sources: where Hydra looks for files, as its `hydra.runtime.config_sources`.
    """
    sweeper = Grid(grids, [{"reducer": "tome", "keep_rate": 0.25}])
    sweeper.hydra_context = SimpleNamespace(config_loader=None)  # type: ignore[assignment]
    sweeper.config = OmegaConf.create(
        {"hydra": {"job": {"config_name": "small"}, "runtime": {"config_sources": sources or []}}}
    )
    return [" ".join(run) for run in sweeper.points(arguments)]


def test_an_axis_that_a_grid_does_not_have_is_set() -> None:
    grids = [
        {"reducer": "none", "datamodule": "imagenet"},
        {"reducer": "none", "datamodule": "nabirds", "backbone.checkpoint": "x.pth"},
        {"reducer": ["tome", "topk"], "keep_rate": [0.25, 0.5]},
        {"reducer": "tome"},
    ]
    assert points(grids, "datamodule=imagenet,nabirds", "reducer=none", "backbone.checkpoint=/y.pth") == [
        "reducer=none datamodule=imagenet backbone.checkpoint=/y.pth"
    ]
    assert points([grids[0], grids[2]], "keep_rate=0.5", "reducer=none") == ["reducer=none datamodule=imagenet"]
    assert points(grids, "keep_rate=.25,.5", "reducer=tome", "seed=3") == [
        "reducer=tome keep_rate=0.5 seed=3",
        "reducer=tome keep_rate=0.5 seed=3",
    ]


def test_no_value_is_dropped() -> None:
    """Of several values, those that no run can have are named; those that are out of reach are left out."""
    grids = [{"reducer": "none", "seed": [0, 1]}, {"reducer": ["tome", "topk"], "keep_rate": [0.25, 0.5]}]
    with pytest.raises(ValueError, match=r"no run of small has reducer=evit,tpok; its grids: reducer=none seed=0,1;"):
        points(grids, "reducer=evit,topk,tpok")
    with pytest.raises(ValueError, match="no run of small has seed=2; its grids"):
        points(grids, "reducer=none", "seed=0,2")
    assert points(grids, "reducer=tome", "keep_rate=0.25,0.5") == ["reducer=tome keep_rate=0.5"]
    assert points(grids, "reducer=tome", "keep_rate=0.5", "seed=0,2") == [
        "reducer=tome keep_rate=0.5 seed=0",
        "reducer=tome keep_rate=0.5 seed=2",
    ]
    assert points(grids, "reducer=none", "keep_rate=0.9", "seed=0") == ["reducer=none seed=0"]


def test_a_list_out_of_reach_means_any_of_its_values() -> None:
    grids = [{"reducer": ["tome", "topk"], "keep_rate": [0.25, 0.4, 0.5], "blocks": [[4], [5]]}]
    left = [{"reducer": "tome", "keep_rate": [0.25, 0.4]}, {"reducer": ["tome", "topk"], "blocks": [[5]]}]
    assert [" ".join(point.values()) for point in grid.points(grids) if not grid.within(point, left)] == [
        "tome 0.5 [4]",
        *(f"topk {rate} [4]" for rate in (0.25, 0.4, 0.5)),
    ]


def test_a_setting_of_the_method_is_for_runs_with_one() -> None:
    grids = [
        {"reducer": "none"},
        {"reducer": "atc_average", "reducer.feature": ["keys", "values", "input"]},
        {"reducer": "atc_average", "reducer.size_bias": [0, 0.5]},
    ]
    assert points(grids, "reducer.feature=keys,values", "reducer.size_bias=0") == [
        "reducer=none",
        "reducer=atc_average reducer.feature=keys reducer.size_bias=0",
        "reducer=atc_average reducer.feature=values reducer.size_bias=0",
        "reducer=atc_average reducer.size_bias=0 reducer.feature=keys",
        "reducer=atc_average reducer.size_bias=0 reducer.feature=values",
    ]


def test_true_and_false_select() -> None:
    grids = [{"reducer": "none", "baselines": True}, {"reducer": "topk", "baselines": False}]
    assert points(grids, "baselines=true") == ["reducer=none baselines=true"]
    assert points(grids, "baselines=false,true") == ["reducer=none baselines=true", "reducer=topk baselines=false"]


def job(name: str, here: Path, sweep: str) -> Job:
    cfg = OmegaConf.create({"sweep": sweep, "seed": 0})
    return Job([f"reducer={name}"], cfg, name, here / name)


def test_a_rerun_that_fails_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).append(Record.read(parts("small", 0.9) | {"identity": "tome"}))
    sweeper = Grid([{"reducer": "tome"}], rerun=True)
    hydra = {"job": {"name": "train", "config_name": "small"}}
    sweeper.config = OmegaConf.create({"hydra": hydra, "paths": {"store": str(tmp_path)}})
    failed = JobReturn(status=JobStatus.FAILED)
    failed._return_value = ValueError("benchmark.batch_size=0 must be 1 or more")
    sweeper.launcher = SimpleNamespace(launch=lambda *_: [failed])  # type: ignore[assignment]
    monkeypatch.setattr(sweeper, "jobs", lambda _: {"tome": job("tome", tmp_path, "small")})
    said = r"1 of 1 runs are not done \(earlier results, which stay: 1\), .*=tome: benchmark.batch_size=0 must"
    with pytest.raises(ValueError, match=said):
        sweeper.sweep([])


def test_why_the_launcher_stopped_is_in_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeper = Grid([{"reducer": "tome"}])
    hydra = {"job": {"name": "train", "config_name": "small"}}
    sweeper.config = OmegaConf.create({"hydra": hydra, "paths": {"store": str(tmp_path)}})

    def launch(*_: object) -> list[JobReturn]:
        raise PermissionError(13, "Permission denied", "runs/sweeps/small")

    sweeper.launcher = SimpleNamespace(launch=launch)  # type: ignore[assignment]
    monkeypatch.setattr(sweeper, "jobs", lambda _: {"tome": job("tome", tmp_path, "small")})
    with pytest.raises(ValueError, match=r"the launcher stopped: \[Errno 13\] Permission denied: 'runs/sweeps/small'"):
        sweeper.sweep([])


def test_a_run_of_two_sweeps_is_in_the_reports_of_both(tmp_path: Path) -> None:
    axes = {"reducer": "topk", "keep_rate": 0.5, "datamodule": "nabirds", "backbone": "deit_small"}
    first = Record.read(parts("atc_fig4_deit", 0.7, **axes))
    Store(tmp_path).append(first)
    name = str(first.identity)
    progress = Progress(tmp_path, {name: job(name, tmp_path, "token_reduction_table1")})
    assert (progress.adopt(), progress.adopt()) == (1, 0)
    records = Store(tmp_path).records()
    assert sorted(str(record.sweep) for record in records) == ["atc_fig4_deit", "token_reduction_table1"]
    assert "71.0" in report.build_report(layout.load("token_reduction_table1"), records).text()


def test_finished_after_it_failed(tmp_path: Path) -> None:
    """Its process was ended before the store had it: the earlier failure is not what is shown."""
    Store(tmp_path / "store").append(Record.read(parts("small") | {"identity": "tome", "status": "failed"}))
    (tmp_path / "tome").mkdir()
    (tmp_path / "tome" / "results.json").write_text('{"status": "finished"}')
    progress = Progress(tmp_path / "store", {"tome": job("tome", tmp_path, "small")})
    assert progress.states() == {"tome": "done"}

"""The same sweep on engines that run several jobs at a time: joblib's processes, Ray, submitit's local executor."""

import os
import signal
from pathlib import Path

import pytest

from atc.runs.store import Store
from tests.sweeps.test_grid import here, start, sweep  # noqa: F401
from tests.sweeps.test_killed import wait_for

LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    "ray": (
        "hydra_plugins.hydra_ray_launcher",
        ["+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false"],
    ),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", ["hydra.launcher.timeout_min=5"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAUNCHERS)
def test_launcher(here: Path, name: str) -> None:  # noqa: F811
    plugin, settings = LAUNCHERS[name]
    pytest.importorskip(plugin, reason=f"needs the extra of hydra/launcher={name}")
    status, said = sweep(here, f"hydra/launcher={name}", *settings, "reducer=tome,topk", "keep_rate=0.5")
    assert status == 0, said
    assert "all 2 runs are done" in said
    assert {record.reducer for record in Store(here / "runs" / "store").records()} == {"tome", "topk"}


def test_slurm_composes(here: Path) -> None:  # noqa: F811
    pytest.importorskip(
        "hydra_plugins.hydra_submitit_launcher", reason="needs the extra of hydra/launcher=submitit_slurm"
    )
    settings = ["hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=8", "hydra.launcher.timeout_min=600"]
    status, said = sweep(here, "hydra/launcher=submitit_slurm", *settings, "--cfg", "hydra")
    assert status == 0, said
    assert "SlurmLauncher" in said


@pytest.mark.slow
def test_preempted_and_started_again(here: Path) -> None:  # noqa: F811
    """What Slurm does to a job, done by submitit's local executor: a signal, and the same job once more."""
    pytest.importorskip(
        "hydra_plugins.hydra_submitit_launcher", reason="needs the extra of hydra/launcher=submitit_local"
    )
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("finds the job's process in /proc, which only Linux has")
    settings = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=60", "trainer.max_epochs=6"]
    process = start(here, *settings, "reducer=topk", "keep_rate=0.5")
    checkpoint = wait_for(here, "last.ckpt", process)
    (job,) = _jobs(here)
    os.kill(job, signal.SIGUSR2)
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    assert "all 1 runs are done" in said
    assert f"going on from {checkpoint}" in (checkpoint.parent / "train.log").read_text()
    records = Store(here / "runs" / "store").records()
    assert [record.status for record in records] == ["interrupted", "finished"]


def _jobs(directory: Path) -> list[int]:
    """The processes of submitit's jobs that run in a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                b"submitit.core._submit" in (process / "cmdline").read_bytes()
                and (process / "cwd").resolve() == directory
            ):
                found.append(int(process.name))
        except OSError:
            continue  # it has ended, or is another user's
    return found

"""The same sweep on engines that run several jobs at a time: joblib's processes, Ray, submitit's local executor."""

from pathlib import Path

import pytest

from atc.report.store import Store
from tests.sweeps.test_grid import here, sweep  # noqa: F401

LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    "ray": (
        "hydra_plugins.hydra_ray_launcher",
        ["+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false"],
    ),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", ["hydra.launcher.timeout_min=5"]),
}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launcher(here: Path, name: str) -> None:  # noqa: F811
    plugin, settings = LAUNCHERS[name]
    pytest.importorskip(plugin, reason=f"needs the extra of hydra/launcher={name}")
    status, said = sweep(here, f"hydra/launcher={name}", *settings, "reducer=tome,topk", "keep_rate=0.5")
    assert status == 0, said
    assert "all 2 runs are done" in said
    assert {entry["reducer"] for entry in Store(here / "runs" / "store").entries()} == {"tome", "topk"}


def test_slurm_composes(here: Path) -> None:  # noqa: F811
    pytest.importorskip(
        "hydra_plugins.hydra_submitit_launcher", reason="needs the extra of hydra/launcher=submitit_slurm"
    )
    settings = ["hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=8", "hydra.launcher.timeout_min=600"]
    status, said = sweep(here, "hydra/launcher=submitit_slurm", *settings, "--cfg", "hydra")
    assert status == 0, said
    assert "SlurmLauncher" in said

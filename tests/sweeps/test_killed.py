"""Sweeps whose jobs are killed in the middle of a training, alone and on another engine's process."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from atc.runs.store import Store
from tests.harness import forked
from tests.sweeps.test_grid import here, start, sweep  # noqa: F401

LONG = ["trainer.max_epochs=6", "reducer=topk", "keep_rate=0.5"]


def wait_for(here: Path, file: str, process: forked.Child) -> Path:  # noqa: F811
    """The first file of that name in a run directory of the sweep."""
    end = time.monotonic() + 100
    while time.monotonic() < end and process.poll() is None:
        for found in (here / "runs" / "sweeps" / "small").glob(f"*/{file}"):
            return found
        time.sleep(0.01)
    process.kill()
    raise AssertionError(process.communicate()[0])


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on(here: Path) -> None:  # noqa: F811
    process = start(here, *LONG)
    checkpoint = wait_for(here, "last.ckpt", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    record = checkpoint.parent / "results.json"
    before = json.loads(record.read_text())
    assert before["status"] == "running"
    assert not Store(here / "runs" / "store").records()

    status, said = sweep(here, *LONG, "--dry-run")
    assert status == 0, said
    assert "small: 1 runs; 1 cut off" in said
    assert f"cut off  {checkpoint.parent.name}" in said

    status, said = sweep(here, *LONG)
    assert status == 0, said
    assert f"going on from {checkpoint}" in said
    after = json.loads(record.read_text())
    assert (after["status"], after["started"]) == ("finished", before["started"])
    assert after["results"]["off_the_shelf"] == before["results"]["off_the_shelf"]
    (record,) = Store(here / "runs" / "store").records()
    assert (record.status, record.identity) == ("finished", checkpoint.parent.name)


@pytest.mark.slow
def test_a_process_of_the_launcher_is_killed(here: Path) -> None:  # noqa: F811
    """Its run is listed as cut off; the others are done; the same command does the rest."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra of hydra/launcher=joblib")
    if not Path("/proc/self/stat").exists():
        pytest.skip("finds the process in /proc, which only Linux has")
    grid = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "trainer.max_epochs=4", "keep_rate=0.5"]
    process = start(here, *grid, "reducer=tome,topk")
    checkpoint = wait_for(here, "last.ckpt", process)
    os.kill(_trainer_of(process.pid), signal.SIGKILL)
    said, _ = process.communicate(timeout=400)
    if process.returncode:
        assert "of 2 runs are not done" in said, said
        assert "cut off" in said
        status, said = sweep(here, *grid, "reducer=tome,topk")
        assert status == 0, said
    assert checkpoint.is_file()
    records = Store(here / "runs" / "store").records()
    assert {record.reducer for record in records if record.status == "finished"} == {"tome", "topk"}


def _trainer_of(parent: int) -> int:
    """The child process that has computed most."""
    children = [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return max(children, key=lambda child: sum(map(int, Path(f"/proc/{child}/stat").read_text().split()[13:15])))

"""Sweeps as typed: what is run, skipped, retried, and what a killed one leaves to do."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atc.report.store import Store
from tests.harness.commands import ROOT, TINY, environment

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


def start(here: Path, *arguments: str, script: str = "train.py") -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / script), "--config-dir", "sweeps", "-cn", "small", *QUICK, *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=here, env=environment(), text=True, **streams)  # type: ignore[call-overload]


def sweep(here: Path, *arguments: str, script: str = "train.py") -> tuple[int, str]:
    process = start(here, *arguments, script=script)
    said, _ = process.communicate(timeout=150)
    return process.returncode, said


def test_dry_run(here: Path) -> None:
    status, said = sweep(here, "--dry-run", "seed=0,1")
    assert status == 0, said
    assert "small: 10 runs; 10 missing" in said
    assert "reducer=topk keep_rate=0.25" in said
    assert "reducer=tome keep_rate=0.25" not in said
    assert not (here / "runs" / "store").exists()
    status, said = sweep(here, "--dry-run", "reducer=tome", "keep_rate=0.7")
    assert status == 2
    assert "no run of small has reducer=tome keep_rate=0.7; its grids: reducer=none" in said
    status, said = sweep(here, "--dry-run", script="evaluate.py")
    assert (status, said) == (2, "error: small is a sweep for train.py, not for evaluate.py\n")


def test_killed_failed_and_finished(here: Path) -> None:
    """SIGKILL in the middle; then a run fails for want of a file; then it is there."""
    store = here / "runs" / "store"
    process = start(here)
    end = time.monotonic() + 100
    while not list(store.glob("*.json")) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = Store(store).entries()
    assert 1 <= len(killed) < 5
    assert {entry["status"] for entry in killed} == {"finished"}

    status, said = sweep(here)
    assert status == 2, said
    assert f"{len(killed)} done" in said
    assert "1 of 5 runs are not done, the first of them reducer=evit" in said
    assert "later.safetensors does not exist" in said
    assert Store(store).entries()[: len(killed)] == killed
    assert sum(entry["status"] == "failed" for entry in Store(store).entries()) == 1

    shutil.copy(ROOT / "atc" / "assets" / "vit_digits.safetensors", here / "later.safetensors")
    status, said = sweep(here)
    assert status == 0, said
    assert "small: 5 runs; 4 done, 1 missing" in said
    assert "Launching 1 jobs" in said
    finished = [entry for entry in Store(store).entries() if entry["status"] == "finished"]
    found = {f"{entry['reducer']} {entry['keep_rate']}": set(entry["results"]) for entry in finished}
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

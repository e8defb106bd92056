"""docs/sweeps.md: every command in it, as it stands, and the sweep file that it shows."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from atc.report import __main__ as command
from atc.report import layout
from tests.harness.commands import ROOT, environment

PAGE = ROOT / "docs" / "sweeps.md"
COMMANDS = [line.strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("    python ")]
REPORTS = [line for line in COMMANDS if line.startswith("python -m atc.report")]
SCRIPTS = [line for line in COMMANDS if line not in REPORTS]
LONG = [line for line in SCRIPTS if "--dry-run" not in line]  # trainings: run by a slow test, or listed


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader stands: the sweeps beside the page, and the file that it shows."""
    found = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "sweeps", found / "sweeps")
    shutil.copytree(ROOT / "benchmarks", found / "benchmarks")
    block = re.search(r"`sweeps/mine.yaml`:\n\n```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert block
    (found / "sweeps" / "mine.yaml").write_text(block[1])
    return found


def run(line: str, here: Path) -> subprocess.CompletedProcess[str]:
    _, script, *arguments = shlex.split(line)
    whole = [sys.executable, str(ROOT / script), *arguments]
    return subprocess.run(whole, cwd=here, env=environment(), capture_output=True, text=True, timeout=300, check=False)


def test_there_are_commands() -> None:
    assert len(REPORTS) >= 6
    assert len(SCRIPTS) >= 10


@pytest.mark.parametrize("line", REPORTS)
def test_reports(line: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(here)
    assert command.main(shlex.split(line)[3:]) == 0
    assert capsys.readouterr().out.strip()


SWEEPS = [line for line in SCRIPTS if "-cn" in line and "launcher" not in line]
HUNDREDS = "digits_all"  # a sweep of hundreds of runs, each of which is composed


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=[pytest.mark.slow] if HUNDREDS in line else []) for line in SWEEPS]
)
def test_sweeps_are_listed(line: str, here: Path) -> None:
    """Those that run for long as their own dry run."""
    done = run(line if "--dry-run" in line else f"{line} --dry-run", here)
    assert done.returncode == 0, done.stderr
    assert re.search(r"(digits_all|mine): \d+ runs; \d+ (missing|done)", done.stdout)


@pytest.mark.slow
def test_several_at_a_time(here: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra of hydra/launcher=joblib")
    (line,) = [line for line in SCRIPTS if "launcher=joblib" in line]
    assert run(line, here).returncode == 0


@pytest.mark.slow
def test_the_sweep_that_it_shows(here: Path) -> None:
    """Run as it says, its table with every cell, and the run without a file."""
    done = run("python train.py --config-dir sweeps -cn mine", here)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all 4 runs are done" in done.stdout
    places = {"--sweeps": "sweeps", "--store": "runs/store", "--output": "reports"}
    assert command.main(["mine", *(part for name, place in places.items() for part in (name, str(here / place)))]) == 0
    entries = [json.loads(file.read_text()) for file in (here / "runs" / "store").glob("*.json")]
    assert {entry["status"] for entry in entries} == {"finished"}
    assert all(set(entry["code"]) == {"reducer"} for entry in entries)
    assert "4 done" in run("python train.py --config-dir sweeps -cn mine --dry-run", here).stdout
    (line,) = [line for line in LONG if " -m " in line]
    quick = "trainer.max_epochs=1 optimizer.warmup_epochs=0 trainer.limit_train_batches=1"
    done = run(f"{line} {quick} trainer.limit_test_batches=1 trainer.limit_val_batches=1 baselines=false", here)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(row.count("accuracy") for row in done.stdout.splitlines() if "│" in row and "runs/" in row) == 9


def test_what_it_says_of_sweep_files(here: Path) -> None:
    shown = layout.load("mine", here / "sweeps")
    assert len(shown.points) == 5
    assert shown.unreachable == ({"reducer": "tome", "keep_rate": "0.25"},)

"""docs/sweeps.md: every command in it, as it stands, and the sweep file that it shows."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from atc.report import __main__ as command
from atc.report import layout
from tests.harness import forked
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
    return forked.run([str(ROOT / script), *arguments], here, environment())


def test_there_are_commands() -> None:
    assert len(REPORTS) >= 6
    assert len(SCRIPTS) >= 10


@pytest.mark.parametrize("line", [pytest.param(x, marks=[pytest.mark.slow] if "--all" in x else []) for x in REPORTS])
def test_reports(line: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(here)
    assert command.main(shlex.split(line)[3:]) == 0
    assert capsys.readouterr().out.strip()


SWEEPS = [line for line in SCRIPTS if "-cn" in line and "launcher" not in line]


@pytest.fixture(scope="module")
def shortened(tmp_path_factory: pytest.TempPathFactory, here: Path) -> Path:
    """The same; of the sweep of hundreds of runs, each of which would be composed, one keep rate of three methods."""
    found = tmp_path_factory.mktemp("shortened")
    shutil.copytree(here / "sweeps", found / "sweeps")
    file = found / "sweeps" / "digits_all.yaml"
    sweep = OmegaConf.load(file)
    sweep.hydra.sweeper.grids = [{"reducer": ["atc_average", "tome", "topk"], "keep_rate": 0.5}]
    file.write_text(OmegaConf.to_yaml(sweep), encoding="utf-8")
    return found


@pytest.mark.parametrize("line", SWEEPS)
def test_sweeps_are_listed(line: str, shortened: Path) -> None:
    """Those that run for long as their own dry run."""
    done = run(line if "--dry-run" in line else f"{line} --dry-run", shortened)
    assert done.returncode == 0, done.stderr
    assert re.search(r"(digits_all|mine): \d+ runs; \d+ (missing|done)", done.stdout)


@pytest.mark.slow
def test_several_at_a_time(here: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra of hydra/launcher=joblib")
    (line,) = [line for line in SCRIPTS if "launcher=joblib" in line]
    assert run(line, here).returncode == 0


@pytest.mark.slow
def test_the_sweep_that_it_shows(here: Path) -> None:
    """Run as it says, but on one batch; its table with every cell, and the run without a file."""
    parts = " ".join(f"trainer.limit_{part}_batches=1" for part in ("train", "val", "test"))
    quick = f"trainer.max_epochs=1 optimizer.warmup_epochs=0 benchmark.seconds=0.1 {parts}"
    mine = f"python train.py --config-dir sweeps -cn mine {quick}"
    done = run(mine, here)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all 4 runs are done" in done.stdout
    places = {"--sweeps": "sweeps", "--store": "runs/store", "--output": "reports"}
    assert command.main(["mine", *(part for name, place in places.items() for part in (name, str(here / place)))]) == 0
    entries = [json.loads(file.read_text()) for file in (here / "runs" / "store").glob("*.json")]
    assert {entry["status"] for entry in entries} == {"finished"}
    assert all(set(entry["code"]) == {"reducer"} for entry in entries)
    assert "4 done" in run(f"{mine} --dry-run", here).stdout
    (line,) = [line for line in LONG if " -m " in line]
    done = run(f"{line} {quick} baselines=false", here)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(row.count("accuracy") for row in done.stdout.splitlines() if "│" in row and "runs/" in row) == 9


def test_what_it_says_of_sweep_files(here: Path) -> None:
    shown = layout.load("mine", here / "sweeps")
    assert len(shown.points) == 5
    assert shown.unreachable == ({"reducer": "tome", "keep_rate": "0.25"},)

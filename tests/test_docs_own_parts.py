"""The pages on schedules and data sets of one's own: their files, as they stand, and their commands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.commands import ROOT, TINY, environment

FILES = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", re.S | re.M)
COMMAND = re.compile(r"^    PYTHONPATH=\. python (.*)$", re.M)
QUICK = [
    "baselines=false",
    "optimizer.warmup_epochs=0",
    *(one for one in TINY if one.startswith(("trainer.", "bench"))),
]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["schedule.md", "data_set.md"])
def test_what_it_says_works(page: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    files = FILES.findall(text)
    assert len(files) == 2
    for name, content in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (command,) = COMMAND.findall(text)
    script, *arguments = shlex.split(command)
    quick = QUICK if script == "train.py" else ["benchmark.seconds=0.02", "trainer.limit_test_batches=1"]
    env = environment()
    env["PYTHONPATH"] = f"{tmp_path}:{env.get('PYTHONPATH', '')}"
    line = [sys.executable, str(ROOT / script), *arguments, *quick]
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test accuracy" in done.stdout

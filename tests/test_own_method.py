"""The suite stays green where a method has been added as docs/reducer.md says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_readme import REDUCER, ROOT, block
from tests.tracked import tracked

# The tests that take the method up by themselves, and those that look at the files of the project.
AFFECTED = "largest_norm or test_readme or test_layout or test_code or test_docs or test_files"
TESTS = (
    "tests/test_*.py",
    "tests/reducers",
    "tests/sweeps/test_files.py",
    "tests/vit",
    "tests/pictures",
    "tests/config",
)


@pytest.mark.slow
def test_it_stays_green(tmp_path: Path) -> None:
    """In a copy of the checkout with its history, the new files added to it."""
    for path in tracked("*"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for library in (ROOT / "atc" / "ops" / "linkage").glob("_native*"):  # compiled once
        (tmp_path / library.relative_to(ROOT)).write_bytes(library.read_bytes())
    (tmp_path / "reducers" / "largest_norm.py").write_text(block(REDUCER, "Write `reducers/largest_norm.py`", "python"))
    settings = block(REDUCER, "and `conf/reducer/largest_norm.yaml`", "yaml")
    (tmp_path / "conf" / "reducer" / "largest_norm.yaml").write_text(settings)
    for line in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "Add"]):
        subprocess.run(["git", *line], cwd=tmp_path, check=True, capture_output=True)
    files = [str(path.relative_to(tmp_path)) for pattern in TESTS for path in sorted(tmp_path.glob(pattern))]
    command = [sys.executable, "-m", "pytest", "-v", "-n2", "-k", AFFECTED, *files]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "ATC_"))}
    env |= {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 100
    assert len(re.findall(r"PASSED.*\[largest_norm", done.stdout)) >= 20

"""Every mistake gets one clear line and exit status 2, over the real command line.

Each command runs in a child of this process, which has imported PyTorch already, so that hundreds take a minute.
"""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests import mistakes
from tests.mistakes import ROOT, Mistake, run

FOUND: list[Mistake] = [
    mistake
    for module in pkgutil.iter_modules(mistakes.__path__)
    if not module.name.startswith("test_")
    for mistake in importlib.import_module(f"tests.mistakes.{module.name}").MISTAKES
]
SECONDS = 60


def _name(mistake: Mistake) -> str:
    return " ".join([mistake.line, *mistake.arguments])[:90]


def _answer(mistake: Mistake, directory: Path) -> tuple[int, str]:
    """Exit status and what stands on stderr."""
    if mistake.prepare is not None:
        mistake.prepare(directory)
    child = os.fork()
    if child == 0:
        run(mistake, directory)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), (directory / ".stderr").read_text()
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -9, f"no answer within {SECONDS} s\n{(directory / '.stderr').read_text()}"


def _check(mistake: Mistake, status: int, said: str) -> None:
    assert "Traceback" not in said, said
    assert status == mistake.status, said
    lines = [line for line in said.splitlines() if line.strip()]
    errors = said[said.rfind("error: ") :] if "error: " in said else said
    for part in mistake.says:
        assert part in errors, said
    assert len([line for line in errors.splitlines() if line.strip()]) <= mistake.lines, said
    assert len(lines) <= mistake.lines + 2, said  # at most two notices before the error


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # the child runs one command and ends
@pytest.mark.parametrize("mistake", FOUND, ids=_name)
def test_one_line(mistake: Mistake, tmp_path: Path) -> None:
    _check(mistake, *_answer(mistake, tmp_path))


def test_there_are_many_and_no_two_alike() -> None:
    assert len({(mistake.line, mistake.arguments, mistake.prepare) for mistake in FOUND}) == len(FOUND)


def test_without_torch() -> None:
    """In a process that has not imported PyTorch, as a user's has not."""
    wanted = [mistake for mistake in FOUND if mistake.without_torch]
    code = "from tests.mistakes.test_mistakes import main; main()"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)
    assert len(answers) == len(wanted)
    for mistake, (status, said, torch) in zip(wanted, answers, strict=True):
        _check(mistake, status, said)
        assert not torch, f"{_name(mistake)} imports torch"


def main() -> None:
    """What `test_without_torch` runs: the answers as JSON."""
    answers = []
    for mistake in FOUND:
        if mistake.without_torch:
            with tempfile.TemporaryDirectory() as name:
                status, said = _answer(mistake, Path(name))
                answers.append((status, said, (Path(name) / ".torch").read_text() == "True"))
    print(json.dumps(answers))

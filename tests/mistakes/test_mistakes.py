"""Every mistake gets one clear line and exit status 2, over the real command line.

Each command runs in a child of this process, which has imported PyTorch already, so that hundreds take a minute; those
that have to be answered without it, in a child of a process that has not.
"""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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


class _Bare:
    """A process that has not imported PyTorch, as a user's has not; commands are run in children of it."""

    def __init__(self) -> None:
        code = "from tests.mistakes.test_mistakes import serve; serve()"
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdin=pipe, stdout=pipe, text=True
        )

    def answer(self, mistake: Mistake) -> tuple[int, str, bool]:
        """Exit status, what stands on stderr, and whether PyTorch was imported."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(FOUND.index(mistake), file=self.process.stdin, flush=True)
        status, said, torch = json.loads(self.process.stdout.readline())
        return status, said, torch


@pytest.fixture(scope="module")
def bare() -> Iterator[_Bare]:
    process = _Bare()
    yield process
    process.process.communicate()


def serve() -> None:
    """What runs in the process without PyTorch: a number of a mistake on each line, a line with its answer for each."""
    importlib.import_module("atc.cli")  # once, for all its children
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as name:
            status, said = _answer(FOUND[int(line)], Path(name))
            torch = Path(name, ".torch")
            print(json.dumps([status, said, not torch.is_file() or torch.read_text() == "True"]), flush=True)


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
def test_one_line(mistake: Mistake, tmp_path: Path, bare: _Bare) -> None:
    if not mistake.without_torch:
        _check(mistake, *_answer(mistake, tmp_path))
        return
    status, said, torch = bare.answer(mistake)
    _check(mistake, status, said)
    assert not torch, f"{_name(mistake)} imports torch"


def test_there_are_many_and_no_two_alike() -> None:
    assert len({(mistake.line, mistake.arguments, mistake.prepare) for mistake in FOUND}) == len(FOUND)

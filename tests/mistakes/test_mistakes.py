"""Every mistake gets one clear line and exit status 2, over the real command line.

Each command runs in a child of a process that has imported PyTorch already, so that hundreds take a minute; those that
have to be answered without it, in a child of a process that has not.
"""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from atc.config import build
from atc.config.check import check
from tests import mistakes
from tests.mistakes import ROOT, Mistake, run

FOUND: list[Mistake] = [
    mistake
    for module in pkgutil.iter_modules(mistakes.__path__)
    if not module.name.startswith("test_")
    for mistake in importlib.import_module(f"tests.mistakes.{module.name}").MISTAKES
]
SECONDS = 60


class _Parent:
    """A process of one thread; commands are run in children of it."""

    def __init__(self, *, torch: bool) -> None:
        code = f"from tests.mistakes.test_mistakes import serve; serve(torch={torch})"
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
def parents() -> Iterator[Callable[[bool], _Parent]]:
    """The process with PyTorch or the one without, each started when it is first asked for."""
    started: dict[bool, _Parent] = {}

    def parent(torch: bool) -> _Parent:
        if torch not in started:
            started[torch] = _Parent(torch=torch)
        return started[torch]

    yield parent
    for one in started.values():
        one.process.communicate()


def serve(torch: bool) -> None:
    """What runs in such a process: a number of a mistake on each line, a line with its answer for each."""
    # Once, for all its children: what a command imports, and what it reads from the sources that its settings name.
    for module in ("atc.cli", *(("atc.run", "datamodules.folder", "atc.visualise") if torch else ())):
        importlib.import_module(module)
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        check(compose("train"), "train")
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as name:
            status, said = _answer(FOUND[int(line)], Path(name))
            loaded = Path(name, ".torch")
            print(json.dumps([status, said, not loaded.is_file() or loaded.read_text() == "True"]), flush=True)


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


def _is_slow(number: int, mistake: Mistake) -> bool:
    """Of those that are answered without PyTorch, which are many and alike, one in six is run by default."""
    return mistake.slow or (mistake.without_torch and number % 6 > 0)


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(one, id=_name(one), marks=[pytest.mark.slow] if _is_slow(number, one) else [])
        for number, one in enumerate(FOUND)
    ],
)
def test_one_line(mistake: Mistake, parents: Callable[[bool], _Parent]) -> None:
    status, said, torch = parents(not mistake.without_torch).answer(mistake)
    assert "Traceback" not in said, said
    assert status == mistake.status, said
    errors = said[said.rfind("error: ") :] if "error: " in said else said
    for part in mistake.says:
        assert part in errors, said
    assert len([line for line in errors.splitlines() if line.strip()]) <= mistake.lines, said
    lines = [line for line in said.splitlines() if line.strip()]
    assert len(lines) <= mistake.lines + 2, said  # at most two notices before the error
    assert not (mistake.without_torch and torch), f"{_name(mistake)} imports torch"


def test_there_are_many_and_no_two_alike() -> None:
    assert len(FOUND) >= 300
    assert len({(mistake.line, mistake.arguments, mistake.prepare) for mistake in FOUND}) == len(FOUND)

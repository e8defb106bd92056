"""Which signals end a run, which stay with others, and what child processes do with them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightning import Trainer

from atc import signals
from atc.signals import SIGNALS, Interrupted, hand_back, is_free, raise_interrupted, take_over
from atc.tasks.interrupt import behind
from tests.harness.commands import environment

# Stops at a signal as a command does, and says which.
WAIT = """
import sys, time
from atc import signals
signals.take_over()
try:
    print("ready", flush=True)
    for _ in range(600):  # one long sleep would miss a signal that comes just before it
        time.sleep(0.1)
except signals.Interrupted as stop:
    print("stopped by", stop, flush=True)
    sys.exit(128 + stop.number)
"""
# With a loader worker, which says when its work is done.
WITH_CHILD = """
import os, sys, time
from atc import signals
signals.take_over()
reader, writer = os.pipe()
if (child := os.fork()) == 0:
    os.read(reader, 1)
    print("child done", flush=True)
    os._exit(0)
try:
    print("ready", flush=True)
    for _ in range(600):  # one long sleep would miss a signal that comes just before it
        time.sleep(0.1)
except signals.Interrupted as stop:
    time.sleep(0.3)
    os.write(writer, b".")
    print("child ended with", os.waitpid(child, 0)[1], flush=True)
    sys.exit(128 + stop.number)
"""


def process(code: str, **settings: object) -> subprocess.Popen[str]:
    """A Python that has begun to wait."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    found: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), **(streams | settings)
    )  # type: ignore[call-overload]
    assert found.stdout is not None
    assert found.stdout.readline() == "ready\n"
    return found


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGUSR2)}
    yield
    hand_back(before)
    signals.pass_on(None)


def test_the_signals() -> None:
    assert {number.name for number in SIGNALS} == {"SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1"}


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_each_stops_with_its_number(number: signal.Signals) -> None:
    with process(WAIT) as waiting:
        waiting.send_signal(number)
        said, _ = waiting.communicate(timeout=30)
        assert said == f"stopped by {number.name}\n"
        assert waiting.returncode == 128 + number


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
def test_one_that_is_ignored_at_the_start_stays_ignored(number: signal.Signals) -> None:
    """As with nohup, and as a shell starts commands in the background of a script."""
    with process(WAIT, preexec_fn=lambda: signal.signal(number, signal.SIG_IGN)) as waiting:
        waiting.send_signal(number)
        waiting.send_signal(signal.SIGTERM)
        said, _ = waiting.communicate(timeout=30)
        assert said == "stopped by SIGTERM\n"


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_to_all_processes_leaves_loader_workers_to_their_parent(number: signal.Signals) -> None:
    with process(WITH_CHILD, start_new_session=True) as waiting:
        os.killpg(waiting.pid, number)
        said, _ = waiting.communicate(timeout=30)
        assert sorted(said.splitlines()) == ["child done", "child ended with 0"]
        assert waiting.returncode == 128 + number


def test_a_child_goes_with_the_second_sigterm() -> None:
    """PyTorch sends one to a loader worker that hangs, and Python another at its exit."""
    take_over()
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        if 0 < signal.alarm(0) <= signals.PATIENCE:
            os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def test_handlers_of_others_stay() -> None:
    def others(*_: object) -> None:
        """Such as submitit's for SIGTERM, Ray's, or a user's own."""

    signal.signal(signal.SIGTERM, others)
    before = take_over()
    assert signal.getsignal(signal.SIGTERM) is others
    assert signal.getsignal(signal.SIGHUP) is raise_interrupted
    assert take_over().keys() == before.keys()  # once more, as in a process of a launcher
    hand_back(before)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL  # submitit's


def test_a_platform_that_lacks_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has neither SIGHUP, SIGQUIT, SIGUSR1 nor alarm."""
    source = Path(signals.__file__).read_text()
    for name in ("SIGHUP", "SIGQUIT", "SIGUSR1", "alarm"):
        monkeypatch.delattr(signal, name)
    scope: dict[str, object] = {"__name__": "there"}
    exec(compile(source, "signals", "exec"), scope)
    assert scope["SIGNALS"] == (signal.SIGINT, signal.SIGTERM)
    monkeypatch.setattr(signals, "SIGNALS", scope["SIGNALS"])
    hand_back(take_over())
    signals.bide(signal.SIGTERM)


def test_in_a_thread_nothing_is_taken() -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(take_over()))
    thread.start()
    thread.join()
    assert found == [{}]
    assert is_free(signal.SIGHUP)


def test_processes_for_other_devices_are_told() -> None:
    class Launcher:
        def kill(self, number: int) -> None:
            told.append(number)

    told: list[int] = []
    signals.pass_on(Launcher())
    take_over()
    with pytest.raises(Interrupted, match="SIGUSR1"):
        os.kill(os.getpid(), signal.SIGUSR1)
    assert told == [signal.SIGUSR1]
    signals.pass_on(object())  # a launcher without processes of its own
    with pytest.raises(Interrupted, match="SIGHUP"):
        os.kill(os.getpid(), signal.SIGHUP)


# A loader worker that dies while its iterator is being destroyed, where PyTorch's error can be caught by nobody.
DEAD_WORKER = """
import os, signal, sys, time
from torch.utils.data import DataLoader
from atc import signals
signals.take_over()

class Late:
    def __init__(self, iterator): self.iterator = iterator
    def __del__(self):
        os.kill(self.iterator._workers[0].pid, signal.SIGKILL)
        time.sleep(30)

class Broken:
    def __del__(self): raise RuntimeError("of another kind")

iterator = iter(DataLoader(range(8), num_workers=1))
next(iterator)
if sys.argv[1] == "stopped":
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
    except signals.Interrupted:
        pass
late = Late(iterator)
del late
broken = Broken()
del broken
"""


@pytest.mark.parametrize("when", ["running", "stopped"])
def test_of_workers_that_a_signal_ends_nothing_is_said(when: str) -> None:
    found = subprocess.run([sys.executable, "-c", DEAD_WORKER, when], env=environment(), capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert ("DataLoader worker" in found.stderr) == (when == "running"), found.stderr
    assert "RuntimeError: of another kind" in found.stderr


def test_a_signal_ends_the_run_and_not_the_worker_that_it_has_ended_too() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    died = RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated. ")
    assert behind(died, trainer) is died
    other = RuntimeError("something else")
    try:
        try:
            raise Interrupted(signal.SIGQUIT)
        except Interrupted:
            raise died  # noqa: B904  # as from the handler of a signal
    except RuntimeError as error:
        found = behind(error, trainer)
    assert isinstance(found, Interrupted)
    assert found.number == signal.SIGQUIT
    other.__context__ = Interrupted(signal.SIGQUIT)
    assert behind(other, trainer) is other


# A worker whose parent no longer takes what it shares, and an error of its own.
RESET = """
import os, sys
from atc import signals
signals.take_over()
signals.take_over()
if (child := os.fork()) == 0:
    for error in (ConnectionResetError("by peer"), EOFError("nothing left"), ValueError("of its own")):
        sys.excepthook(type(error), error, None)
    os._exit(0)
os.waitpid(child, 0)
raise ConnectionError("of the parent")
"""


def test_of_a_parent_that_stops_workers_say_nothing() -> None:
    found = subprocess.run([sys.executable, "-c", RESET], env=environment(), capture_output=True, text=True)
    assert "ValueError: of its own" in found.stderr
    assert "ConnectionError: of the parent" in found.stderr
    assert "by peer" not in found.stderr
    assert "nothing left" not in found.stderr


# Hooks of a library between two calls, which call those before them, as W&B's do between two runs of a sweep.
WRAPPED = """
import sys
from atc import signals
signals.take_over()
signals.expect_dead_workers()
first, second = sys.excepthook, sys.unraisablehook
sys.excepthook = lambda *error: first(*error)
sys.unraisablehook = lambda error: second(error)
signals.take_over()
signals.expect_dead_workers()

class Broken:
    def __del__(self): raise RuntimeError("of a destructor")

broken = Broken()
del broken
raise ValueError("of the program")
"""


def test_hooks_of_others_that_call_ours_end() -> None:
    found = subprocess.run([sys.executable, "-c", WRAPPED], env=environment(), capture_output=True, text=True)
    assert found.stderr.count("RuntimeError: of a destructor") == 1
    assert found.stderr.count("ValueError: of the program") == 1
    assert "RecursionError" not in found.stderr

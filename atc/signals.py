"""Signals that end a run: Ctrl-C, a closed terminal, a cluster at the end of the time that it gave."""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any

# Those that this platform has. SIGUSR1 is what clusters send before they stop a job, SIGHUP what a terminal sends
# that is closed, SIGQUIT Ctrl-\.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1") if hasattr(signal, name)
)
PATIENCE = 60  # seconds that a child process outlives a SIGTERM, for its parent to finish an update

_owner = os.getpid()
_launcher: Any = None
# What there was before ours, which is installed once: others, such as W&B's, may lead back to it.
_excepthook: Any = None
_unraisable: Any = None


class Interrupted(BaseException):
    """Raised in place of a signal; not an Exception, so that nothing takes it for an error and carries on.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def raise_interrupted(number: int, frame: FrameType | None) -> None:
    """The handler outside of training: stop at once."""
    if is_child():
        bide(number)
        return
    expect_dead_workers()
    if _launcher is not None:
        _launcher.kill(number)  # the processes for other devices, which wait for this one
    raise Interrupted(number)


def take_over() -> dict[int, Any]:
    """Have signals raise Interrupted in this process: those that are not handled or ignored already.

    One that was ignored when the process started (nohup) stays ignored, and one that a library handles stays its own.

    Returns:
        The handlers there were, for `hand_back`; none outside of the main thread, where signals do not arrive.
    """
    global _owner, _excepthook
    if threading.current_thread() is not threading.main_thread():
        return {}
    _owner = os.getpid()
    if _excepthook is None:
        _excepthook, sys.excepthook = sys.excepthook, _but_in_workers
    return {number: signal.signal(number, raise_interrupted) for number in SIGNALS if is_free(number)}


def hand_back(handlers: Mapping[int, Any]) -> None:
    """Install the handlers that `take_over` has returned."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def is_free(number: int) -> bool:
    """Whether a signal has no handler but Python's or ours, and is not ignored."""
    return signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, raise_interrupted)


def is_child() -> bool:
    """Whether this process was forked from the one that took the signals over, and has inherited its handlers."""
    return os.getpid() != _owner


def bide(number: int) -> None:
    """What a loader worker does with a signal to all processes of a run: it goes on until its parent ends it.

    After a SIGTERM it does so for a minute at most; the second ends it at once.
    """
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
        if hasattr(signal, "alarm"):
            signal.alarm(PATIENCE)


def is_of_a_worker(error: BaseException | None) -> bool:
    """Whether an error is PyTorch's, of a loader worker that has died."""
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


def expect_dead_workers() -> None:
    """From now on, say nothing of loader workers whose end is noticed where nobody can catch the error.

    PyTorch handles SIGTERM in its workers by itself, so that one to all processes ends them; it raises the error
    wherever the main thread is, which may be in a destructor.
    """
    global _unraisable
    if _unraisable is None:
        _unraisable, sys.unraisablehook = sys.unraisablehook, _but_for_workers


def _but_for_workers(unraisable: Any) -> None:
    if not is_of_a_worker(unraisable.exc_value):
        _unraisable(unraisable)


def _but_in_workers(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The thread of a worker that shares memory with its parent prints an error if the parent stops meanwhile."""
    if not (is_child() and isinstance(error, (ConnectionError, EOFError))):
        _excepthook(kind, error, trace)


def pass_on(launcher: Any) -> None:
    """Pass signals that stop this process at once on to the processes of a launcher.

    Args:
        launcher: `trainer.strategy.launcher`, which has `kill(number)` if it starts processes; or None.
    """
    global _launcher
    _launcher = launcher if hasattr(launcher, "kill") else None

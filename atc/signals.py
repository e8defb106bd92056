"""Signals that end a run: Ctrl-C, a closed terminal, a cluster at the end of the time that it gave."""

import os
import signal
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any

# Those that this platform has. SIGUSR1 is what clusters send before they stop a job, SIGHUP what a terminal sends
# that is closed, SIGQUIT Ctrl-\.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1") if hasattr(signal, name)
)
PATIENCE = 60  # seconds that a child process outlives a SIGTERM, for its parent to finish an update

_owner = os.getpid()
_launcher: Any = None


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
    if _launcher is not None:
        _launcher.kill(number)  # the processes for other devices, which wait for this one
    raise Interrupted(number)


def take_over() -> dict[int, Any]:
    """Have signals raise Interrupted in this process: those that are not handled or ignored already.

    One that was ignored when the process started (nohup) stays ignored, and one that a library handles stays its own.

    Returns:
        The handlers there were, for `hand_back`; none outside of the main thread, where signals do not arrive.
    """
    global _owner
    if threading.current_thread() is not threading.main_thread():
        return {}
    _owner = os.getpid()
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


def pass_on(launcher: Any) -> None:
    """Pass signals that stop this process at once on to the processes of a launcher.

    Args:
        launcher: `trainer.strategy.launcher`, which has `kill(number)` if it starts processes; or None.
    """
    global _launcher
    _launcher = launcher if hasattr(launcher, "kill") else None

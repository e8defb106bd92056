"""The ends of a command that are nobody's error: a reader of its output that has gone, and Ctrl-C."""

import io
import os
import select
import signal
import sys
from collections.abc import Callable

from atc.printable import printable


def ended(work: Callable[[], int]) -> int:
    """Do what a command does. Neither `| head` nor Ctrl-C makes a traceback, nor does a character that cannot be shown.

    The commands of `atc.cli` do so themselves: they handle other signals as well, and leave what can be resumed.

    Args:
        work: the command, which returns its exit status.

    Returns:
        That status; 128 + SIGINT after Ctrl-C, which one line tells.
    """
    never_fail()
    try:
        try:
            return work()
        finally:  # also after --help, which raises SystemExit
            sys.stdout.flush()
    except BrokenPipeError:
        end_if_unread()
        raise
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def in_one_line(work: Callable[[], int]) -> int:
    """Do what a command does; a mistake of the user's is told in one line.

    For commands that read their arguments themselves; `atc.config.composed_command` is for those of conf/.

    Args:
        work: the command, which returns its exit status.

    Returns:
        That status; 2 after a ValueError or OSError.
    """
    try:
        return work()
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2


def never_fail() -> None:
    r"""Write what a terminal's encoding lacks as an escape, such as \\u2022, and nothing where a stream is closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as of a daemon
            setattr(sys, name, io.StringIO())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def end_if_unread() -> None:
    """End the process, as the shell's own tools do, if whatever read its output has gone: `--help | head`.

    To be called after a BrokenPipeError. Where that was about something else than standard output, it returns.
    """
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # no file at all
        return
    if not hasattr(select, "poll"):  # as on Windows
        return
    poll = select.poll()
    poll.register(output, select.POLLOUT)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # else Python complains of it once more at its end
        sys.exit(128 + signal.SIGPIPE)

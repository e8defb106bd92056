"""Standard output that can neither end a run nor be complained about."""

import io
import os
import select
import signal
import sys


def never_fail() -> None:
    r"""Write what a terminal's encoding lacks as an escape, such as \\u2022, instead of raising an error."""
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
    poll = select.poll()
    poll.register(output, select.POLLOUT)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # else Python complains of it once more at its end
        sys.exit(128 + signal.SIGPIPE)

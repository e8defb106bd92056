"""Output to a terminal that may be closed while a run goes on."""

import errno
import io
import os
import sys
from typing import Any


class Terminal(io.TextIOWrapper):
    """A terminal to write to; once it is closed, what is written goes nowhere instead of raising an error.

    Without it a progress bar would end the run before the signal of the closed terminal has arrived.
    """

    def write(self, text: str) -> int:
        """Write, unless the terminal is gone."""
        try:
            return super().write(text)
        except OSError as error:
            self._leave(error)
            return len(text)

    def flush(self) -> None:
        """Flush, unless the terminal is gone."""
        try:
            super().flush()
        except OSError as error:
            self._leave(error)

    def _leave(self, error: OSError) -> None:
        if error.errno != errno.EIO:
            raise error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def outlive() -> None:
    """Have stdout and stderr outlive the terminal they write to; files and pipes stay as they are."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if type(stream) is io.TextIOWrapper and stream.isatty():
            encoding, errors, buffered = stream.encoding, stream.errors, stream.line_buffering
            setattr(sys, name, Terminal(stream.detach(), encoding, errors, line_buffering=buffered))

"""Text from outside, such as the name of a file, made fit to be shown: a name must not act on a terminal or a log."""

import logging
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

# The joiners that words of Persian and Indic scripts, and emoji, are made of. All other format characters reorder or
# hide text.
_JOINERS = "\u200c\u200d"
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str, keep: str = "") -> str:
    r"""`text` on one line, without what controls a terminal, and writable as UTF-8.

    Args:
        text: any text. A name of a file that is not UTF-8 holds surrogates, as `os.fsdecode` leaves them.
        keep: characters to leave as they are, such as "\n" for a message of several lines.

    Returns:
        The text with control characters (ESC, newlines), line and paragraph separators, and marks that reverse or hide
        text as escapes, as in `\x1b`; a byte that is not UTF-8 as `\xff`. What is printable stays, backslashes
        included.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char in keep or _harmless(char) else _escaped(char) for char in text)


def printable_message(text: str, given: Iterable[str]) -> str:
    """A message fit to be shown, with its own newlines, but none of the command line's.

    Args:
        text: the message.
        given: the command line that it is about, as KEY=VALUE.

    Returns:
        The message with control characters as escapes, and with the newlines of the values too.
    """
    for value in (said.partition("=")[2].strip("'\"") for said in given):
        if not value.isprintable():
            text = text.replace(value, printable(value))
    return printable(text, keep="\n")


class Printable(logging.Filter):
    """Makes what a handler logs printable; a message keeps its own newlines, a path among its arguments none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Escape in place; every message passes."""
        if isinstance(record.args, tuple):
            record.args = tuple(printable(str(arg)) if isinstance(arg, PurePath) else arg for arg in record.args)
        record.msg, record.args = printable(record.getMessage(), keep="\n\t"), None
        return True


def _harmless(char: str) -> bool:
    return char in _JOINERS or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(char: str) -> str:
    number = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"

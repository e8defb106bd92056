"""Text that is fit to be shown."""

import logging
import os
from pathlib import Path

import pytest

from atc.printable import Printable, printable, printable_message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a.png", "a.png"),
        ("Ünï 中 \u00a0b \U0001f469\u200d\U0001f680", "Ünï 中 \u00a0b \U0001f469\u200d\U0001f680"),
        ("C:\\new", "C:\\new"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x07\x7f\x9b", "\\x1b[31mred\\x07\\x7f\\x9b"),
        (os.fsdecode(b"caf\xe9.png"), "caf\\xe9.png"),
        ("\ud800", "\\ud800"),
        ("evil\u202egnp.exe\u2028\u2066\ufeff", "evil\\u202egnp.exe\\u2028\\u2066\\ufeff"),
        ("\U000e0001", "\\U000e0001"),
        ("", ""),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown
    shown.encode()


def test_keeps_what_it_is_told_to() -> None:
    assert printable("two\nlines\x1b", keep="\n") == "two\nlines\\x1b"


def test_a_message_keeps_its_own_newlines_only() -> None:
    given = ["image='a\nb.png'", "plain=a", "odd"]
    assert printable_message("a\nb.png is missing\nfrom \x1b[2J", given) == "a\\nb.png is missing\nfrom \\x1b[2J"


def test_every_character_can_be_written_on_one_line() -> None:
    everything = printable("".join(map(chr, range(0x110000))))
    everything.encode()
    assert len(everything.splitlines()) == 1
    assert "\x1b" not in everything


def test_what_is_logged_is_printable(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "log", encoding="utf-8")
    handler.addFilter(Printable())
    log = logging.getLogger("test_printable")
    log.addHandler(handler)
    log.warning("read %s: %s, %d %%", Path("a\nb\x1b"), ValueError("\udcff\x1b"), 3)
    log.warning("a table\nof two lines 100 %")
    log.removeHandler(handler)
    handler.close()
    assert (tmp_path / "log").read_text() == "read a\\nb\\x1b: \\xff\\x1b, 3 %\na table\nof two lines 100 %\n"

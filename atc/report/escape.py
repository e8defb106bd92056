"""Text from records and sweep files as it may stand in Markdown, LaTeX and CSV: shown, never acting.

Pages in HTML are escaped by their template, pictures by Matplotlib.
"""

import re

from atc.printable import printable

_TEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "`": r"\textasciigrave{}",
    },
    **{"[": "{[}", "]": "{]}"},  # after the end of a row a bracket begins an argument
    **{"±": r"$\pm$", "−": "$-$", "–": "--", "Δ": r"$\Delta$"},
}
_FORMULA = re.compile(r"[=+\-@\t\r]")


def markdown(text: str) -> str:
    """Text on one line of Markdown, in a cell or a note: no HTML, links, pictures, code or cells of its own.

    Args:
        text: any text.

    Returns:
        The text, escaped.
    """
    text = re.sub(r"[\\`*|]", r"\\\g<0>", printable(text))
    text = re.sub(r"(?<=\])(?=[(\[:])", r"\\", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def latex(text: str) -> str:
    """Text on one line of LaTeX, in a cell or a comment, without a command of its own.

    Args:
        text: any text.

    Returns:
        The text, escaped.
    """
    return "".join(_TEX.get(character, character) for character in printable(text))


def csv(text: str) -> str:
    """A text for a cell that a spreadsheet must not take for a formula; numbers stay as they are.

    Args:
        text: any text.

    Returns:
        The text, with an apostrophe before what would begin a formula.
    """
    text = printable(text)
    return f"'{text}" if _FORMULA.match(text) and not is_number(text) else text


def is_number(text: str) -> bool:
    """Whether text is a number, by which it can be ordered."""
    try:
        float(text)
    except ValueError:
        return False
    return True

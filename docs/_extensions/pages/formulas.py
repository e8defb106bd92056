"""The formulas of methods, from docs/formulas.md."""

import re

from pages.method import CHECKOUT

FILE = CHECKOUT / "docs" / "formulas.md"


def formulas() -> dict[str, str]:
    """What docs/formulas.md says, by the name of the class."""
    text = FILE.read_text(encoding="utf-8")
    _, *parts = re.split(r"^## ", text, flags=re.M)
    return {head: body.strip() for head, _, body in (part.partition("\n") for part in parts)}


def letters() -> str:
    """What the letters in all formulas are."""
    return FILE.read_text(encoding="utf-8").partition("\nLetters: ")[2].partition("\n\n")[0]

"""The table of methods: what one types, what it is called, where it is from, what it does."""

from collections.abc import Sequence

from atc.report.display_names import METHODS
from pages.described import ARXIV
from pages.kind import kind
from pages.method import Method

BEGIN, END = "<!-- methods: python docs/_extensions/generated_pages.py -->", "<!-- /methods -->"


def table(methods: Sequence[Method], linked_to: str | None = None) -> str:
    """A line for each class, with the methods that it has.

    Args:
        methods: of which those that come with ATC are shown.
        linked_to: where the page of a method is, with {} for its name; None: names are no links.

    Returns:
        A table in Markdown.
    """
    lines = ["| `reducer=` | method | paper | tokens | training |", "|---|---|---|---|---|"]
    own = [method for method in methods if method.name in METHODS]
    for cls in sorted({method.cls for method in own}, key=_turn):
        several = [method for method in own if method.cls is cls]
        names = " ".join(_name(method.name, linked_to) for method in several)
        cells = [
            names,
            several[0].cited.name,
            _paper(several[0]),
            kind(several[0]),
            "needed" if cls.needs_training else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def replaced(page: str, new: str) -> str:
    """A page with another table of methods between the marks.

    Args:
        page: the page.
        new: the table.

    Returns:
        The page.

    Raises:
        ValueError: the marks are not there.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there must be a line {BEGIN} and, behind it, a line {END}")
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def _name(name: str, linked_to: str | None) -> str:
    return f"`{name}`" if linked_to is None else f"[`{name}`]({linked_to.format(name)})"


def _paper(method: Method) -> str:
    """Authors and venue, as a link."""
    source, found = method.cited.source, ARXIV.search(method.cited.source)
    if not found:
        return source
    return f"[{source.replace(found[0], '').strip(', ')}](https://arxiv.org/abs/{found[1]})"


def _turn(cls: type) -> tuple[int, str]:
    """ATC first, then those that need no training, then those that do; no method and random pruning last."""
    module = cls.__module__
    last = module.endswith((".none", ".random"))
    return (
        0 if "agglomerative" in module else 3 if last else 2 if getattr(cls, "needs_training", False) else 1,
        module,
    )

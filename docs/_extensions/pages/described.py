"""What docstrings and comments say, taken apart."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
_SECTION = re.compile(r"^(?:Args|Attributes|Raises|Returns|Examples):$", re.M)


@dataclass(frozen=True)
class Described:
    """The docstring of a class.

    Attributes:
        summary: its first paragraph.
        text: the paragraphs between that and the first section.
        arguments: what is said of each argument of the constructor, by name.
    """

    summary: str
    text: str
    arguments: dict[str, str]


def described(text: str | None) -> Described:
    """A docstring in Google's style, taken apart.

    Args:
        text: the docstring, indented or not.

    Returns:
        Its parts, each paragraph on one line.
    """
    clean = inspect.cleandoc(text or "")
    prose = _SECTION.split(clean)[0].strip()
    summary, _, rest = prose.partition("\n\n")
    section = re.split(r"^Args:\n", clean, flags=re.M)
    arguments = dict(_arguments(section[1])) if len(section) > 1 else {}
    return Described(joined(summary), "\n\n".join(map(joined, re.split(r"\n{2,}", rest))).strip(), arguments)


def joined(lines: str) -> str:
    """Several lines as one."""
    return " ".join(lines.split())


def _arguments(section: str) -> Iterator[tuple[str, str]]:
    body = _SECTION.split(section)[0]
    for name, text in re.findall(r"^    (\w+): (.*(?:\n        .*)*)", body, re.M):
        yield name, joined(text)


@dataclass(frozen=True)
class Citation:
    """What the docstring of a method's file says the method is.

    It is ``NAME (AUTHORS, VENUE, arXiv NUMBER): rest.``

    Attributes:
        name: what the method is called.
        source: authors, venue and number in arXiv, as they are written; empty without a paper.
        rest: what is said behind it.
    """

    name: str
    source: str
    rest: str


def citation(text: str | None) -> Citation:
    """The first paragraph of the docstring of a method's file, taken apart.

    Args:
        text: the docstring.

    Returns:
        Its parts.
    """
    line = joined(inspect.cleandoc(text or "").partition("\n\n")[0])
    found = re.fullmatch(r"(.+?) \((.+?)\)[,:]? ?(.*)", line)
    if found:
        return Citation(found[1], found[2], found[3].rstrip("."))
    name, _, rest = line.rstrip(".").partition(": ")
    return Citation(name, "", rest)


def linked(text: str) -> str:
    """Text in which each number of arXiv is a link in Markdown."""
    return ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", text)

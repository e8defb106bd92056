"""Text of sweep files and docstrings as Markdown of a page."""

import re
from collections.abc import Collection

from atc.report import escape
from pages.described import linked

_COMMAND = re.compile(r"(python (?:-m [\w.]*\w|[\w/]+\.py)(?: --?[\w-]+ [\w./]*\w| [\w.]+=\S+| [a-z0-9]+_\w+)*)")
_SETTING = re.compile(r"(?<![\w`])([\w.]+=[\w.\[\]{}:,/-]*[\w\]}/])")


def prose(text: str, pages: Collection[str] = ()) -> str:
    """Text in which settings are code, numbers of arXiv links, and names of pages links to these.

    Args:
        text: any text.
        pages: the names of pages in the same folder.

    Returns:
        Markdown.
    """
    return "".join(f"`{part}`" if part.startswith("python ") else _words(part, pages) for part in _COMMAND.split(text))


def _words(text: str, pages: Collection[str]) -> str:
    text = linked(escape.markdown(text))
    text = _SETTING.sub(r"`\1`", text)
    return re.sub(r"[a-z][a-z0-9_]+", lambda found: _link(found, pages), text)


def _link(found: re.Match[str], pages: Collection[str]) -> str:
    word, text = found[0], found.string
    inside = text[: found.start()].count("`") % 2 or text[found.start() - 1 : found.start()] in ("/", ".")
    return f"[{word}]({word}.md)" if word in pages and not inside else word

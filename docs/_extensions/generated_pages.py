"""Sphinx extension: before the documentation is read, the pages of methods and results are written.

``python docs/_extensions/generated_pages.py`` brings the table of methods in the README up to date.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = "generated"
# What pages link to for readers of the repository, and where readers of the site find it.
LINKS = {"](../README.md#methods)": "](generated/methods/index.md)", "](formulas.md)": "](generated/methods/index.md)"}


def setup(app: "Sphinx") -> dict[str, Any]:
    """Join in."""
    app.connect("builder-inited", _write)
    app.connect("source-read", _relink)
    app.connect("config-inited", lambda _, config: config.exclude_patterns.extend(["formulas.md"]))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write(app: "Sphinx") -> None:
    from pages.writing import write

    write(Path(app.srcdir) / FOLDER)


def _relink(_: "Sphinx", __: str, source: list[str]) -> None:
    for link, on_the_site in LINKS.items():
        source[0] = source[0].replace(link, on_the_site)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2])]
    from pages.writing import write_readme

    write_readme()

"""docs/index.md lists every page, so that each is found in the documentation."""

import re

from tests.tracked import ROOT

DOCS = ROOT / "docs"
INDEX = (DOCS / "index.md").read_text(encoding="utf-8")


def listed() -> list[str]:
    """The pages of the index's tables of contents."""
    lists = re.findall(r"^```\{toctree\}\n(.*?)^```", INDEX, re.S | re.M)
    assert lists
    return [line for body in lists for line in body.splitlines() if line and not line.startswith(":")]


def test_every_page_is_listed_once() -> None:
    written = [page for page in listed() if not page.startswith("generated/")]
    parts = {"index", "formulas"}  # a page that is shown method by method
    pages = {path.stem for path in DOCS.glob("*.md")} - parts
    pages |= {f"tutorials/{path.stem}" for path in DOCS.glob("tutorials/*.md")}
    assert sorted(written) == sorted(pages)


def test_there_is_a_place_for_what_is_generated() -> None:
    generated = {page for page in listed() if page.startswith("generated/")}
    assert generated == {"generated/methods/index", "generated/results/index"}


def test_what_is_built_is_no_part_of_the_checkout() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/docs/_build/", "/docs/api/", "/docs/generated/"} <= set(ignored)

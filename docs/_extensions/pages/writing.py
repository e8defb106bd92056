"""Writes all generated pages; what has not changed is left as it is, so that Sphinx does not read it again."""

from collections.abc import Iterator
from pathlib import Path

from atc.files import write_whole
from pages import method_page, overview, result_page, table
from pages.method import CHECKOUT, all_methods
from pages.results import KEPT, reports


def write(folder: Path) -> list[Path]:
    """Write the pages of methods and results.

    Args:
        folder: where to: methods/NAME.md, results/NAME.md, and figures beside them.

    Returns:
        The pages.
    """
    written = dict(_pages(folder))
    for path, text in written.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_whole(path, text)
    for part in ("methods", "results"):
        for path in (folder / part).glob("*.md"):
            if path not in written:  # of a method or sweep that is no more
                path.unlink()
    return list(written)


def _pages(folder: Path) -> Iterator[tuple[Path, str]]:
    every, shown = all_methods(), reports()
    yield folder / "methods" / "index.md", overview.of_methods(every)
    yield folder / "results" / "index.md", overview.of_results(shown)
    for method in every:
        yield folder / "methods" / f"{method.name}.md", method_page.page(method, every, shown.values())
    newest = max(path.stat().st_mtime for path in [*KEPT.glob("*.json"), *(CHECKOUT / "atc" / "report").glob("*.py")])
    for name, report in shown.items():
        yield folder / "results" / f"{name}.md", result_page.page(report, shown)
        figure = folder / "results" / f"{name}.svg"
        if result_page.is_drawn(report) and not (figure.is_file() and figure.stat().st_mtime > newest):
            write_whole(figure, report.svg() or "")


def write_readme() -> None:
    """Bring the table of methods in the README up to date."""
    readme = CHECKOUT / "README.md"
    text = readme.read_text(encoding="utf-8")
    write_whole(readme, table.replaced(text, table.table(all_methods())))

"""All tables and figures on one page that needs nothing but itself."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader

from atc.files import write_whole
from atc.printable import printable
from atc.report.report import Report


def write_site(reports: Sequence[Report], directory: Path) -> Path:
    """Write index.html: tables that sort by a click on a heading, figures inside.

    What was measured comes first; what was not run is folded away after it.

    Args:
        reports: the tables and figures.
        directory: where to write.

    Returns:
        The file.
    """
    environment = Environment(
        finalize=_printable, loader=PackageLoader("atc.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("site.html").render(
        measured=[one for one in reports if one.measured],
        not_run=[one for one in reports if not one.measured],
        zip=zip,
    )
    return write_whole(directory / "index.html", page)


def _printable(value: object) -> object:
    """Text without what reorders it or is no part of a page; markup that is meant as such stays as it is."""
    return printable(value) if type(value) is str else value

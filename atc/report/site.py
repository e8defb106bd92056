"""All tables and figures on one page that needs nothing but itself."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader

from atc.report.report import Report
from atc.report.tables import readable


def write(reports: Sequence[Report], directory: Path) -> Path:
    """Write index.html into `directory`: tables that sort by a click on a heading, figures inside. The file."""
    directory.mkdir(parents=True, exist_ok=True)
    environment = Environment(loader=PackageLoader("atc.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("site.html").render(reports=reports, readable=readable)
    file = directory / "index.html"
    file.write_text(page, encoding="utf-8")
    return file

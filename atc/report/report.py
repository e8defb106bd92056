"""A table or figure, made and written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from atc.report import cells as cell
from atc.report import derived, figures, notes, tables
from atc.report.layout import Layout
from atc.report.store import Entry
from atc.report.tables import Table

# What the record behind a table leaves out of the runs' records: where they ran, and what is shown anyway.
PRIVATE = ("command", "error", "notices", "paths", "logger", "callbacks", "trainer")


@dataclass
class Report:
    """What a sweep came to. cells: all results behind it, which a figure may show otherwise than its table."""

    layout: Layout
    cells: list[cell.Cell]
    table: Table

    def text(self) -> str:
        """For the terminal."""
        return tables.terminal(self.table)

    def svg(self) -> str | None:
        """The figure, if it is one."""
        if not self.layout.drawn:
            return None
        return figures.svg(figures.draw(self.layout, self.cells, self.table), self.layout.name)

    def write(self, directory: Path) -> list[Path]:
        """Markdown, LaTeX and CSV; PNG and SVG of a figure; and the runs behind it. The files."""
        directory.mkdir(parents=True, exist_ok=True)
        name = self.layout.name
        texts = {
            f"{name}.md": tables.markdown(self.table),
            f"{name}.tex": tables.latex(self.table),
            f"{name}.csv": self.csv(),
            f"{name}.json": json.dumps(self.runs(), indent=1) + "\n",
        }
        for file, text in texts.items():
            (directory / file).write_text(text, encoding="utf-8")
        written = [directory / file for file in texts]
        if self.layout.drawn:
            figure = figures.draw(self.layout, self.cells, self.table)
            for suffix in ("png", "svg"):
                written.append(directory / f"{name}.{suffix}")
                figure.savefig(written[-1])
        return written

    def csv(self) -> str:
        """All numbers, and where they come from."""
        return tables.as_csv(self.table)

    def runs(self) -> list[Entry]:
        """The records of the runs behind it, without where they ran: to be published, or used as a store."""
        entries = {entry["identity"]: entry for one in self.cells for entry in one.entries}
        return [_public(entry) for entry in entries.values()]


def make(layout: Layout, entries: Sequence[Entry]) -> Report:
    """The report of a layout from records of runs, of which those of other sweeps are left out."""
    found = cell.build(layout, entries)
    said = notes.of(layout, found)
    if layout.kind in derived.KINDS:
        return Report(layout, found, derived.table(layout, found, said))
    if layout.kind == "curves":  # what tells panels apart, then the lines in them
        down = dict.fromkeys(("setting", *layout.rows, *layout.columns, "reducer"))
        return Report(layout, found, tables.arrange(replace(layout, rows=(*down,), columns=(layout.x,)), found, said))
    return Report(layout, found, tables.arrange(layout, found, said))


def _public(entry: Entry) -> Entry:
    public = {key: value for key, value in entry.items() if key not in PRIVATE}
    machine = entry.get("machine", {})
    return public | {"machine": {key: value for key, value in machine.items() if key != "platform"}}

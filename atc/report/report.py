"""A table or figure, made and written."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atc.extras import needs
from atc.files import write_json, write_whole
from atc.report import best, cells, expected, figures, marks, notes, ranks, tables
from atc.report.cells import Cell
from atc.report.layout import Layout
from atc.report.tables import Table
from atc.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What the record behind a table leaves out of the runs' records: where they ran, and what is shown anyway.
PRIVATE = ("command", "error", "notices", "paths", "logger", "callbacks", "trainer", "images_directory")


@dataclass
class Report:
    """What a sweep came to.

    Attributes:
        layout: what the sweep file says.
        cells: all results behind it, which a figure may show otherwise than its table.
        table: the table, also of a figure.
    """

    layout: Layout
    cells: list[Cell]
    table: Table

    @property
    def measured(self) -> bool:
        """Whether it holds a number of ours."""
        return any(one.values for one in self.cells)

    def text(self) -> str:
        """For the terminal."""
        return tables.terminal(self.table)

    def svg(self) -> str | None:
        """The figure, if it is one."""
        if not self.layout.drawn:
            return None
        self._check_drawable()
        return figures.svg(self.figure(), self.layout.name)

    def figure(self) -> Figure:
        """The figure, of a layout that is drawn."""
        return figures.draw(self.layout, self.cells, self.table)

    def write(self, directory: Path) -> list[Path]:
        """Markdown, LaTeX and CSV; PNG, SVG and PDF of a figure; and the runs behind it. The files."""
        name = self.layout.name
        texts = {
            f"{name}.md": tables.markdown(self.table),
            f"{name}.tex": tables.latex(self.table),
            f"{name}.csv": self.csv(),
        }
        written = [write_whole(directory / file, text) for file, text in texts.items()]
        written.append(write_json(directory / f"{name}.json", self.records(), indent=1))
        if self.layout.drawn:
            self._check_drawable()
            figure = self.figure()
            for suffix in ("png", "svg", "pdf"):
                written.append(write_whole(directory / f"{name}.{suffix}", figures.encoded(figure, suffix)))
        return written

    def _check_drawable(self) -> None:
        needs(f"the figure {self.layout.name}", "matplotlib", "pictures")

    def csv(self) -> str:
        """All numbers, and where they come from."""
        return tables.as_csv(self.table)

    def records(self) -> list[dict[str, Any]]:
        """The records of the runs behind it, without where they ran: to be published, or used as a store."""
        records = {record.identity: record for one in self.cells for record in one.records}
        return [_public(record).as_dict() for record in records.values()]


def build_report(layout: Layout, records: Sequence[Record]) -> Report:
    """The report of a layout.

    Args:
        layout: what the sweep file says.
        records: those of runs, of which the ones of other sweeps are left out.

    Returns:
        Tables and figures, to be shown and written.
    """
    if layout.over_cost:
        from atc.report import equal_cost  # which extends Report

        return equal_cost.build(layout, records)
    results, lines = results_of(layout, records)
    if layout.kind in ranks.KINDS:
        return Report(layout, results, ranks.comparison_table(layout, results, lines))
    layout = replace(layout, rows=(*layout.rows, *_axes_without_place(layout, results)))
    if layout.kind == "curves":  # what tells panels apart, then the lines in them
        down = dict.fromkeys(("setting", *layout.rows, *layout.columns, "reducer"))
        curves = replace(layout, rows=(*down,), columns=(layout.x,))
        return Report(layout, results, tables.arrange(curves, results, lines))
    return Report(layout, results, tables.arrange(layout, results, lines))


def results_of(layout: Layout, records: Sequence[Record]) -> tuple[list[Cell], list[str]]:
    """All results of a layout, and what is to be said below them.

    Args:
        layout: what the sweep file says.
        records: those of runs, of which the ones of other sweeps are left out.

    Returns:
        Cells, marked where they are not as the others, and notes.
    """
    runs = cells.runs_of_layout(layout, records)
    results = cells.build_cells(layout, runs)
    marks.mark_cells(layout, results, runs)
    return results, [*notes.table_notes(layout, results), *(best.mark_best(results) if layout.best else ())]


def _axes_without_place(layout: Layout, results: Sequence[Cell]) -> list[str]:
    """Axes that alone tell results apart which would stand in the same place: they become rows."""
    curves = layout.kind == "curves"  # which have a line for each method, and one without reduction in every panel
    told = (*layout.rows, *layout.columns, *((layout.x, "reducer") if curves else ()))
    shown = [one.where for one in results if not (curves and one.where["reducer"] == "none")]
    rows: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for where in shown:
        rows.setdefault(tuple(where.get(axis, "") for axis in told if axis not in layout.columns), []).append(where)
    differing: set[str] = set()
    for several in rows.values():
        for one, other in itertools.combinations(several, 2):
            if all(one.get(axis, other.get(axis)) == other.get(axis, one.get(axis)) for axis in layout.columns):
                differing |= {axis for axis in {*one, *other} if one.get(axis, "") != other.get(axis, "")}
    axes = dict.fromkeys(axis for where in shown for axis in where)
    return [
        axis
        for axis in axes
        if axis in differing and axis not in told and not expected.is_without_effect(axis.lstrip("+~"))
    ]


def _public(record: Record) -> Record:
    machine = {key: value for key, value in record.machine.items() if key != "platform"}
    return record.without(*PRIVATE).replace(machine=machine)

"""Tables of results in Markdown: whole ones, and what they say of one method."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace

from atc.report import tables
from atc.report.cells import Cell
from atc.report.report import Report
from atc.report.tables import Key, Table


def markdown(table: Table) -> str:
    """A table without its heading, and its notes.

    Args:
        table: the table.

    Returns:
        Markdown.
    """
    return tables.markdown(table).partition("\n\n")[2].strip()


@dataclass(frozen=True)
class Part:
    """What a table says of one method.

    Attributes:
        report: the report whose table it is.
        table: the rows and columns with a number of the method, and those without reduction beside them.
        measured: whether some number is ours.
        sources: where the published numbers stand.
    """

    report: Report
    table: Table
    measured: bool
    sources: tuple[str, ...]


def of_method(reports: Iterable[Report], method: str) -> list[Part]:
    """What all tables say of one method; what a table repeats of others is left out.

    Args:
        reports: tables and figures, in any order.
        method: the name of the method.

    Returns:
        A part of each table that has a number of the method, measured or published.
    """
    found, seen = [], set[Hashable]()
    for one in sorted(reports, key=lambda one: (one.layout.drawn, -len(one.layout.sweeps), -len(one.table.rows))):
        table = None if one.layout.name.startswith("study_") else _of_method(one.table, method)
        if table is None:
            continue
        cells = [cell for cell in table.cells.values() if isinstance(cell, Cell) and cell.where["reducer"] == method]
        numbers = set[Hashable](record.identity for cell in cells for record in cell.records)
        numbers |= {(one.layout.metrics, cell.published, cell.source) for cell in cells if cell.published is not None}
        if not cells or numbers - seen:
            seen |= numbers
            sources = dict.fromkeys(cell.source for cell in cells if cell.source)
            measured = not cells or any(cell.values for cell in cells)
            found.append(Part(one, table if measured else published(table), measured, tuple(sources)))
    return sorted(found, key=lambda part: part.report.layout.name)


def _of_method(table: Table, method: str) -> Table | None:
    if "reducer" not in table.layout.rows:
        return None
    place = table.layout.rows.index("reducer")
    rows = [row for row in table.rows if row[place] == method and any(_told(table, row, one) for one in table.columns)]
    columns = [column for column in table.columns if any(_told(table, row, column) for row in rows)]
    if not rows:
        return None
    dense = [row for row in table.rows if row[place] == "none" and row not in rows]
    dense = [row for row in dense if any(_told(table, row, column) for column in columns)]
    shown = [*dense, *rows]
    cells = {(row, column): cell for (row, column), cell in table.cells.items() if row in shown and column in columns}
    found = replace(table, rows=shown, columns=columns, cells=cells, notes=[])
    return replace(found, notes=found.footnotes)


def _told(table: Table, row: Key, column: Key) -> bool:
    """Whether there is a number at a place."""
    cell = table.cells.get((row, column))
    if isinstance(cell, Cell):
        return bool(cell.values) or cell.published is not None
    return bool(cell) and str(table.cells.get((row, table.columns[0]))) not in tables.SHOWN.values()


def published(table: Table) -> Table:
    """The published numbers of a table alone, for one of which nothing was run.

    Args:
        table: the table.

    Returns:
        The rows and columns that have one, without notes.
    """
    cells = {place: _as_number(cell) for place, cell in table.cells.items() if cell.published is not None}
    rows = [row for row in table.rows if any(place[0] == row for place in cells)]
    columns = [column for column in table.columns if any(place[1] == column for place in cells)]
    return replace(table, cells=cells, rows=rows, columns=columns, notes=[])


def _as_number(cell: Cell) -> Cell:
    assert cell.published is not None
    return replace(cell, values=[cell.published], published=None, state="measured", remarks=[])

"""Cells in the layout of the paper's table: on the terminal, in Markdown, LaTeX and CSV."""

import csv
import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.console import Console
from rich.table import Table as RichTable

from atc.printable import printable
from atc.report import escape
from atc.report.cells import Cell
from atc.report.costs import COSTS, cost_of
from atc.report.escape import is_number
from atc.report.layout import Layout
from atc.report.matching import BASELINE

Key = tuple[str, ...]
SHOWN = {"missing": "not run", "failed": "failed", "out of reach": "–", "needs training": "needs training"}


@dataclass
class Table:
    """Cells in rows and columns.

    Attributes:
        layout: what the sweep file says.
        rows: keys of rows, in order.
        columns: keys of columns, in order.
        cells: by row and column; a place without a cell is no part of the table.
        notes: lines below it.
    """

    layout: Layout
    rows: list[Key]
    columns: list[Key]
    cells: dict[tuple[Key, Key], Cell]
    notes: list[str]

    @property
    def compared(self) -> bool:
        """Whether there are published numbers, so that a column has three parts: ours, theirs and the difference."""
        return any(cell.published is not None for cell in self.cells.values())

    @cached_property
    def letters(self) -> dict[str, str]:
        """The letter of each footnote, by its text, in the order of the cells."""
        places = [(row, column) for row in self.rows for column in self.columns if (row, column) in self.cells]
        remarks = dict.fromkeys(remark for place in places for remark in getattr(self.cells[place], "remarks", ()))
        return {remark: _letter(number) for number, remark in enumerate(remarks)}

    @property
    def footnotes(self) -> list[str]:
        """What the letters in brackets behind numbers mean."""
        return [f"[{letter}] {remark}" for remark, letter in self.letters.items()]

    @property
    def heads(self) -> list[str]:
        """Headings of the columns after those that name the rows."""
        return [f"{self.head(column)} {part}".strip() for column in self.columns for part in self.part_heads]

    @property
    def part_heads(self) -> tuple[str, ...]:
        """What the parts of a column are."""
        ours = ("ours", "paper", "Δ") if self.compared else ("",)
        return (*ours, *(COSTS[name].head for name in self.layout.cost))

    def names(self, row: Key) -> list[str]:
        """What a row is called."""
        return [self.layout.names.get(value) or readable(value) for value in row]

    def bold(self, row: Key) -> list[bool]:
        """Which of the texts of a row are bold."""
        cells = [self.cells.get((row, column)) for column in self.columns]
        return [
            number == 0 and getattr(cell, "best", None) is not None
            for cell in cells
            for number in range(len(self.part_heads))
        ]

    def head(self, column: Key) -> str:
        """What a column is: values, with the axis before those that are numbers."""
        named = zip(self.layout.columns, column, strict=True)
        return " ".join(f"{axis}={value}" if is_number(value) else readable(value) for axis, value in named)

    def texts(self, row: Key) -> list[str]:
        """What a row says after its names."""
        return [text for column in self.columns for text in self.parts(self.cells.get((row, column)))]

    def parts(self, cell: Cell | None) -> tuple[str, ...]:
        """What a cell says: ours, and where there are published numbers theirs and the difference."""
        texts = ("", "", "") if cell is None else self._texts(cell)
        return (*(texts if self.compared else texts[:1]), *(_cost(cell, name) for name in self.layout.cost))

    def _varies(self, cell: Cell) -> bool:
        """Whether values differ; those of ranks and differences are over data sets, and equal ones say something."""
        return cell.varies or self.layout.kind in ("ranks", "differences")

    def _texts(self, cell: Cell) -> tuple[str, str, str]:
        digits = self.layout.decimals
        ours = SHOWN.get(cell.state, "")
        if cell.mean is not None:
            # A method that draws nothing at random gives one number, whatever the seed
            spread = f" ± {cell.spread:.{digits}f}" if cell.spread is not None and self._varies(cell) else ""
            marks = ",".join(self.letters[remark] for remark in cell.remarks)
            ours = f"{cell.mean:.{digits}f}{spread}" + (f" [{marks}]" if marks else "")
        theirs = "–" if cell.published is None else f"{cell.published:.{digits}f}"
        return ours, theirs, "" if cell.difference is None else f"{cell.difference:+.{digits}f}".replace("-", "−")


def arrange(layout: Layout, cells: Sequence[Cell], notes: Sequence[str] = ()) -> Table:
    """Put cells into rows and columns. A result without reduction stands in every column that it is compared with."""
    rows = list(dict.fromkeys(_key(cell, layout.rows) for cell in cells))
    columns = _ordered(_key(cell, layout.columns) for cell in cells if cell.where["reducer"] != "none")
    columns = columns or [()]
    placed: dict[tuple[Key, Key], Cell] = {}
    for cell in cells:
        for column in columns:
            axes = zip(layout.columns, column, strict=True)
            if all(cell.where.get(axis, value) == value for axis, value in axes):
                placed.setdefault((_key(cell, layout.rows), column), cell)
    table = Table(layout, rows, columns, placed, [*layout.notes, *notes])
    table.notes += table.footnotes
    return table


def _letter(number: int) -> str:
    """The letter of a footnote: a to z, then aa, ab and so on."""
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def _key(cell: Cell, axes: Sequence[str]) -> Key:
    return tuple(cell.where.get(axis, "") for axis in axes)


def _ordered(keys: Iterator[Key]) -> list[Key]:
    """In order of appearance; numbers by size, after what is none."""
    unique = list(dict.fromkeys(keys))
    positions = [list(dict.fromkeys(key[i] for key in unique)) for i in range(len(unique[0]) if unique else 0)]
    ranks = [sorted(values, key=lambda value: float(value) if is_number(value) else -1.0) for values in positions]
    return sorted(unique, key=lambda key: [rank.index(value) for rank, value in zip(ranks, key, strict=True)])


def readable(name: str) -> str:
    """Settings in words, such as off the shelf; the names of methods and backbones stay what one types."""
    return name.replace("_", " ") if name in (BASELINE, "off_the_shelf", "fine_tuned") else name


def terminal(table: Table) -> str:
    """To be read on a terminal: ours, the published number and the difference in one place."""
    title = table.layout.title + (": ours | paper | difference" if table.compared else "")
    drawn = RichTable(title=printable(title), title_justify="left", show_edge=False, pad_edge=False)
    for axis in table.layout.rows:
        drawn.add_column(printable(axis), no_wrap=True)
    for column in table.columns:
        drawn.add_column("\n".join(printable(table.head(column)).split()), justify="right", no_wrap=True)
    for row in table.rows:
        cells = [table.cells.get((row, column)) for column in table.columns]
        starred = [" *" * (getattr(cell, "best", None) is not None) for cell in cells]
        shown = [" | ".join(filter(None, table.parts(cell))) for cell in cells]
        texts = [*table.names(row), *(text + star for text, star in zip(shown, starred, strict=True))]
        drawn.add_row(*map(printable, texts))
    # As wide as need be: the terminal wraps, rich would cut. What stands in brackets is text.
    out = io.StringIO()
    console = Console(file=out, width=1000, markup=False, emoji=False, highlight=False)
    console.print(drawn)
    # Not at hyphens: a commit, or a path, is there to be copied.
    wrapper = textwrap.TextWrapper(110, initial_indent="* ", subsequent_indent="  ", break_on_hyphens=False)
    notes = [wrapper.fill(printable(note)) for note in table.notes]
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines())
    return "\n".join([text, "", *notes, ""])


def markdown(table: Table) -> str:
    """A heading, the table, its notes."""
    heads = [*table.layout.rows, *table.heads]
    lines = [_piped(heads), _piped(["---"] * len(table.layout.rows) + ["---:"] * len(table.heads))]
    lines += [_piped_row(table, row) for row in table.rows]
    notes = [f"- {escape.markdown(note)}" for note in table.notes]
    return "\n".join([f"## {escape.markdown(table.layout.title)}", "", *lines, "", *notes]).rstrip() + "\n"


def _piped_row(table: Table, row: Key) -> str:
    numbers = zip(map(escape.markdown, table.texts(row)), table.bold(row), strict=True)
    texts = [f"**{text}**" if bold else text for text, bold in numbers]
    return "| " + " | ".join([*map(escape.markdown, table.names(row)), *texts]) + " |"


def _piped(texts: Sequence[str]) -> str:
    return "| " + " | ".join(map(escape.markdown, texts)) + " |"


def latex(table: Table) -> str:
    """A tabular of booktabs, its notes as comments."""
    parts = len(table.part_heads)
    names = "l" * len(table.layout.rows)
    lines = [f"% {escape.latex(note)}" for note in table.notes]
    lines += [f"\\begin{{tabular}}{{{names}{'r' * parts * len(table.columns)}}}", "\\toprule"]
    spanning = [f"\\multicolumn{{{parts}}}{{c}}{{{escape.latex(table.head(column))}}}" for column in table.columns]
    lines.append(" & ".join([*map(escape.latex, table.layout.rows), *spanning]) + r" \\")
    if parts > 1:
        below = [*map(escape.latex, table.part_heads)] * len(table.columns)
        lines.append(" & ".join([""] * len(names) + below) + r" \\")
    lines.append("\\midrule")
    lines += [_tex_row(table, row) + r" \\" for row in table.rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _tex_row(table: Table, row: Key) -> str:
    numbers = zip(map(escape.latex, table.texts(row)), table.bold(row), strict=True)
    texts = [f"\\textbf{{{text}}}" if bold else text for text, bold in numbers]
    return " & ".join([*map(escape.latex, table.names(row)), *texts])


def _cost(cell: Cell | None, name: str) -> str:
    value = None if cell is None else cost_of(cell, name)
    return "" if value is None else f"{value:.{COSTS[name].decimals}f}"


def as_csv(table: Table) -> str:
    """One line per cell: where it is, what was measured and published, and where that was; its footnotes, if any."""
    axes = list(dict.fromkeys(axis for cell in table.cells.values() for axis in cell.where))
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    remarks = ["remarks"] if table.letters else []
    more = [*table.layout.cost, *(["best"] if table.layout.best else []), *remarks]
    heads = [*axes, "state", "ours", "spread", "seeds", "published", "difference", "source", *more]
    lines.writerow(map(escape.csv, heads))
    for cell in {id(cell): cell for cell in table.cells.values()}.values():
        numbers = [_plain(cell.mean), _plain(cell.spread), len(cell.values), _plain(cell.published)]
        where = [escape.csv(cell.where.get(axis, "")) for axis in axes]
        footnotes = [escape.csv("; ".join(cell.remarks))] if remarks else []
        source = escape.csv(cell.source or "")
        costs = [_plain(cost_of(cell, name)) for name in table.layout.cost]
        best = [cell.best or ""] if table.layout.best else []
        lines.writerow([*where, cell.state, *numbers, _plain(cell.difference), source, *costs, *best, *footnotes])
    return out.getvalue()


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"

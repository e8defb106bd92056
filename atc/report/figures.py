"""Figures in the look of the papers': curves over the keep rate, mean ranks, differences."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from atc.printable import printable
from atc.report import pictures
from atc.report.cells import Cell
from atc.report.display_names import METRICS
from atc.report.layout import Layout
from atc.report.matching import BASELINE
from atc.report.ranks import ALL, measure_of
from atc.report.tables import Table, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_TICKS = 8  # of a panel
MARKERS = "osD^vP*X<>hp"
UNDATED: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
OPEN: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 6, "markerfacecolor": "white"}
STYLE: dict[Any, Any] = {  # matplotlib's type of a key is the list of all of them
    "svg.fonttype": "none",
    "svg.hashsalt": "atc",
    "axes.grid": True,
    "grid.alpha": 0.3,
    "font.size": 8,
}
STYLE |= {"text.parse_math": False, "text.usetex": False}  # a dollar sign is one


def sheet(width: float, height: float) -> Figure:
    """An empty figure.

    Args:
        width: in inches.
        height: in inches.
    """
    from matplotlib.figure import Figure  # tables need no matplotlib

    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def style(others: dict[str, Any] | None = None) -> AbstractContextManager[None]:
    """Within, figures look as all of a report do.

    Args:
        others: further settings of matplotlib.
    """
    from matplotlib import rc_context

    return rc_context(STYLE | (others or {}))


def draw(layout: Layout, cells: Sequence[Cell], table: Table) -> Figure:
    """The figure of a layout.

    Args:
        layout: what the sweep file says.
        cells: all results.
        table: what a figure computed from all of them shows.

    Returns:
        The figure.
    """
    with style():
        if layout.kind == "curves":
            return _curves(layout, cells)
        if layout.kind == "pictures":
            return pictures.draw(layout, cells)
        return _bars(layout, table)


def svg(figure: Figure, name: str) -> str:
    """A figure as text to put into a page, in which its parts are told from others' by `name`."""
    text = encoded(figure, "svg", name).decode()
    return text[text.index("<svg") :]


def encoded(figure: Figure, suffix: str, name: str = "atc") -> bytes:
    """A figure as the content of a file.

    Args:
        figure: what `draw` made.
        suffix: "svg", "pdf" or "png".
        name: what the parts of an SVG are told from those of others by.

    Returns:
        The content, the same for the same figure.
    """
    out = io.BytesIO()
    with style({"svg.hashsalt": name}):
        figure.savefig(out, format=suffix, metadata=UNDATED.get(suffix))
    return out.getvalue()


def _curves(layout: Layout, cells: Sequence[Cell]) -> Figure:
    """A panel for each row and column, a line for each method; dashed: without reduction."""
    reduced = [cell for cell in cells if cell.where["reducer"] != "none"]
    rows = list(dict.fromkeys(tuple(cell.where.get(axis, "") for axis in layout.rows) for cell in reduced)) or [()]
    columns = list(dict.fromkeys(tuple(cell.where.get(axis, "") for axis in layout.columns) for cell in reduced)) or [
        ()
    ]
    methods = list(dict.fromkeys(cell.where["reducer"] for cell in reduced))
    figure = sheet(2.6 * len(columns) + 1.2, 2.1 * len(rows) + 0.7)
    panels = figure.subplots(len(rows), len(columns), squeeze=False, sharex="col")
    for j, column in enumerate(columns):
        for i, row in enumerate(rows):
            place = dict(zip((*layout.rows, *layout.columns), (*row, *column), strict=True))
            _panel(panels[i][j], layout, [cell for cell in cells if _belongs(cell, place)], methods)
            panels[i][j].set_title(printable(" ".join(map(readable, (*row, *column)))))
        panels[-1][j].set_xlabel(printable(layout.x.replace("_", " ")))
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels) or 1, 5), frameon=False)
    figure.supylabel(label_of(layout, cells))
    return figure


def _belongs(cell: Cell, place: dict[str, str]) -> bool:
    """Whether a panel shows a cell; what is reached without reduction belongs to every setting."""
    where = {k: v for k, v in cell.where.items() if k != "setting" or cell.where["setting"] != BASELINE}
    return all(where.get(key, value) == value for key, value in place.items())


def _panel(axes: Axes, layout: Layout, cells: Sequence[Cell], methods: Sequence[str]) -> None:
    for number, method in enumerate(methods):
        own = sorted((float(c.where[layout.x]), c) for c in cells if c.where["reducer"] == method and c.values)
        line = axes.errorbar(
            [x for x, _ in own],
            [cell.mean or 0.0 for _, cell in own],
            [cell.spread or 0.0 for _, cell in own],
            label=_label(layout, method),
            marker=MARKERS[number % len(MARKERS)],
            color=f"C{number % 10}",
            markersize=3.5,
            linewidth=1.2,
        )
        line[0].set_gid(printable(method))
        marked = [(x, c.mean) for x, c in own if c.remarks]  # as the footnotes of the table beside it say
        axes.plot(*zip(*marked, strict=True), **OPEN, markeredgecolor=f"C{number % 10}") if marked else None
    ticks = sorted({float(cell.where[layout.x]) for cell in cells if layout.x in cell.where})
    if ticks:  # so many that they can be read, also where nothing was run
        axes.set_xticks(ticks[:: -(1 + (len(ticks) - 1) // MOST_TICKS)])
        margin = 0.05 * (ticks[-1] - ticks[0]) or 0.5
        axes.set_xlim(ticks[0] - margin, ticks[-1] + margin)
    dense = [cell for cell in cells if cell.where["reducer"] == "none" and cell.mean is not None]
    dense = [cell for cell in dense if cell.where["setting"] != BASELINE] or dense
    if dense:
        axes.axhline(dense[0].mean or 0.0, color="black", linestyle="--", linewidth=1, label="no reduction")
    if not any(cell.values for cell in cells):
        _empty(axes)


def _bars(layout: Layout, table: Table) -> Figure:
    """A group of bars per keep rate, or one bar per method where there is a column over all."""
    columns = [column for column in table.columns if column == (ALL,)] or table.columns
    figure = sheet(max(4.0, 0.45 * len(table.rows) * len(columns) + 1.5), 3)
    axes = figure.subplots()
    width = 0.8 / max(len(table.rows), 1)
    for number, row in enumerate(table.rows):
        cells = [(i, table.cells.get((row, column))) for i, column in enumerate(columns)]
        drawn = [(i + number * width, cell) for i, cell in cells if cell is not None and cell.values]
        axes.bar(
            [x for x, _ in drawn],
            [cell.mean or 0.0 for _, cell in drawn],
            width,
            yerr=[cell.spread or 0.0 for _, cell in drawn],
            label=_label(layout, row[0]),
            color=f"C{number % 10}",
            error_kw={"linewidth": 0.8},
        )
    axes.set_xticks([i + 0.4 - width / 2 for i in range(len(columns))], [printable(column[0]) for column in columns])
    axes.set_xlabel(printable(layout.x.replace("_", " ")))
    axes.set_ylabel("mean rank (1 = best)" if layout.kind == "ranks" else _ahead(layout, table))
    if any(cell.values for cell in table.cells.values()):
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    else:
        _empty(axes)
        axes.set_xticks([])
    return figure


def label_of(layout: Layout, cells: Sequence[Cell]) -> str:
    """What stands along the vertical axis.

    Args:
        layout: what the sweep file says.
        cells: the results, whose metrics count; those of the layout where nothing was measured.

    Returns:
        The metrics with their unit.
    """
    shown = {cell.metric for cell in cells if cell.values} or set(layout.metrics)
    units = {metric.unit for metric in shown}
    named = sorted({METRICS.get(metric.name, metric.name) for metric in shown})
    if len(units) == 1:
        return printable(", ".join(filter(None, [" or ".join(named), *units])))
    return printable(" or ".join(sorted(metric.label for metric in shown)))


def _ahead(layout: Layout, table: Table) -> str:
    metric = measure_of(layout, list(table.cells.values()))
    if metric.higher_is_better:
        return "points above the best prior method"
    return printable(f"{metric.label}, below the best prior method")


def _label(layout: Layout, method: str) -> str:
    """A name for the legend, which leaves out those that begin with an underscore."""
    method = layout.names.get(method, method)
    return " " * method.startswith("_") + printable(method)


def _empty(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not yet run", ha="center", va="center", transform=axes.transAxes, color="grey")
    axes.set_yticks([])

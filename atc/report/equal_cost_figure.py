"""The figure of results over their cost, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from atc.printable import printable
from atc.report.costs import COSTS
from atc.report.equal_cost import EqualCost, Spot, front
from atc.report.figures import MARKERS, label_of, sheet, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 10  # lines that one figure tells apart by colour
FEW = 12  # lines whose names stand below a narrow figure
LETTERS = 16  # of the legend, to an inch
DASHES = ("-", "--", ":", "-.")


def draw(report: EqualCost) -> Figure:
    """A panel for each row and column, a line for each method; grey: the Pareto front; a star: without reduction.

    Args:
        report: what is drawn.

    Returns:
        The figure.
    """
    layout, panels = report.layout, report.panels or {(): {}}
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines if name))
    with style():
        width = max(4.2 * len(panels) + 0.6, 6.4 if len(names) > FEW else 0)
        columns = max(1, int(width * LETTERS) // (max(map(len, names), default=0) + 6))  # of the legend
        figure = sheet(width, 3.4 + 0.17 * math.ceil((len(names) + 2) / columns))
        (row,) = figure.subplots(1, len(panels), squeeze=False)
        for axes, (panel, lines) in zip(row, panels.items(), strict=True):
            _panel(axes, layout.x, lines, names)
            axes.set_title(printable(" ".join(panel)))
            axes.set_xlabel(COSTS[layout.x].label)
        handles = {
            label: handle for axes in row for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
        row[0].set_ylabel(label_of(layout, report.cells))
    return figure


def _panel(axes: Axes, x: str, lines: Mapping[str, Sequence[Spot]], names: Sequence[str]) -> None:
    every = [spot for spots in lines.values() for spot in spots]
    better = all(spot.cell.metric.higher_is_better for spot in every)
    best = front(every, COSTS[x].less_is_better, better)
    if not every:
        axes.text(0.5, 0.5, "not yet run", ha="center", va="center", transform=axes.transAxes, color="grey")
        return
    axes.plot(*_xy(best), color="0.75", linewidth=5, solid_capstyle="round", label="Pareto front", zorder=1)
    for number, name in enumerate(names):
        axes.plot(
            *_xy(lines.get(name, [])),
            label=" " * name.startswith("_") + printable(name),
            marker=MARKERS[number % len(MARKERS)],
            color=f"C{number % WIDE}",
            linestyle=DASHES[number // WIDE % len(DASHES)],
            markersize=3.5,
            linewidth=1.1,
        )
    if lines.get(""):
        axes.plot(*_xy(lines[""][:1]), marker="*", color="black", linestyle="", markersize=8, label="no reduction")


def _xy(spots: Sequence[Spot]) -> tuple[list[float], list[float]]:
    return [spot.cost for spot in spots], [spot.score for spot in spots]

"""Methods compared at equal cost, not at equal keep rates: curves over what was measured, and their differences."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.integrate import trapezoid

from atc.cost.pareto import pareto_front
from atc.report import escape
from atc.report.cells import Cell
from atc.report.costs import COSTS, cost_of
from atc.report.layout import Layout
from atc.report.matching import BASELINE
from atc.report.report import Report, results_of
from atc.report.tables import readable
from atc.report.throughput import Lines
from atc.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTE = (
    "Entries: the method of the row less the method of the column at equal {label}, in {unit}; the mean over the range "
    "that both reach, with straight lines between what was measured. –: no common range. The range of each pair, and "
    "the least and largest difference in it, are in the CSV. † on the Pareto front: no other result is cheaper and "
    "better."
)


class Spot(NamedTuple):
    """A result at its cost.

    Attributes:
        cost: as measured.
        score: on the scale on which it is shown.
        cell: the result.
    """

    cost: float
    score: float
    cell: Cell


class Difference(NamedTuple):
    """One method less another at equal cost.

    Attributes:
        low: where the range begins that both reach.
        high: where it ends.
        mean: of the difference over the range.
        least: of the differences in it.
        most: likewise.
    """

    low: float
    high: float
    mean: float
    least: float
    most: float


def difference(one: Sequence[Spot], other: Sequence[Spot]) -> Difference | None:
    """One method less another over the costs that both reach, with straight lines between their results.

    Args:
        one: results, in any order.
        other: likewise.

    Returns:
        The difference; None where no cost is common to both.

    Examples:
        >>> cell = Cell({}, [], "measured")
        >>> line = [Spot(1.0, 70.0, cell), Spot(3.0, 80.0, cell)]
        >>> difference(line, [Spot(2.0, 74.0, cell), Spot(4.0, 80.0, cell)])
        Difference(low=2.0, high=3.0, mean=2.0, least=1.0, most=3.0)
    """
    a, b = _line(one), _line(other)
    low, high = max(a[0][0], b[0][0]), min(a[0][-1], b[0][-1])
    if low > high:
        return None
    knots = np.unique([low, high, *(x for x in (*a[0], *b[0]) if low < x < high)])
    gaps = np.interp(knots, *a) - np.interp(knots, *b)
    mean = float(trapezoid(gaps, knots) / (high - low)) if high > low else float(gaps[0])
    return Difference(float(low), float(high), mean, float(gaps.min()), float(gaps.max()))


def front(spots: Sequence[Spot], less_is_better: bool = True, higher_is_better: bool = True) -> list[Spot]:
    """The Pareto front: the results than which none is both as cheap and better, or as good and cheaper.

    Args:
        spots: results.
        less_is_better: of the cost; False for speed.
        higher_is_better: of the score.

    Returns:
        Those on the front, the cheapest first.
    """
    cheaper, better = 1 if less_is_better else -1, 1 if higher_is_better else -1
    return pareto_front(spots, cost=lambda spot: cheaper * spot.cost, score=lambda spot: better * spot.score)


@dataclass
class EqualCost(Report):
    """Its report: a figure of all results over their cost, and a table of differences at equal cost.

    Attributes:
        panels: by the values that tell panels apart, the lines in them by name, "" being without reduction.
        pairs: what the table is made of: panel, method, against, difference.
    """

    panels: dict[tuple[str, ...], dict[str, list[Spot]]] = field(default_factory=dict)
    pairs: list[tuple[tuple[str, ...], str, str, Difference | None]] = field(default_factory=list)

    def figure(self) -> Figure:
        """The figure."""
        from atc.report import equal_cost_figure

        return equal_cost_figure.draw(self)

    def csv(self) -> str:
        """A line for each pair of methods."""
        out = io.StringIO()
        lines = csv.writer(out, lineterminator="\n")
        axes = [*self.layout.rows, *self.layout.columns]
        lines.writerow([*axes, "method", "against", f"{self.layout.x}_from", "to", "mean", "least", "most"])
        for panel, method, against, found in self.pairs:
            numbers = [""] * 5 if found is None else [f"{value:.6g}" for value in found]
            lines.writerow([*map(escape.csv, (*panel, method, against)), *numbers])
        return out.getvalue()


def build(layout: Layout, records: Sequence[Record]) -> EqualCost:
    """The report of curves over a cost.

    Args:
        layout: of kind curves, with one of `COSTS` as x.
        records: those of runs, of which the ones of other sweeps are left out.

    Returns:
        The report.
    """
    cells, notes = results_of(layout, records)
    panels = _panels(layout, cells)
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines if name))
    pairs: list[tuple[tuple[str, ...], str, str, Difference | None]] = []
    texts: dict[Any, Any] = {}
    rows: list[Any] = []
    heads = [("measured from",), ("to",), *((name,) for name in names)]
    less, digits = COSTS[layout.x].less_is_better, COSTS[layout.x].decimals
    for panel, lines in panels.items():
        better = all(spot.cell.metric.higher_is_better for spots in lines.values() for spot in spots)
        on_front = {id(spot) for spot in front([spot for spots in lines.values() for spot in spots], less, better)}
        for name in filter(None, lines):
            star = " †" * any(id(spot) in on_front for spot in lines[name])
            rows.append((*panel, name + star))
            costs = [spot.cost for spot in lines[name]]
            texts |= {
                (rows[-1], head): f"{end(costs):.{digits}f}" for head, end in zip(heads, (min, max), strict=False)
            }
            for other in filter(None, lines):
                found = None if other == name else difference(lines[name], lines[other])
                shown = "–" if found is None else f"{found.mean:+.{layout.decimals}f}".replace("-", "−")
                texts[rows[-1], (other,)] = "" if other == name else shown
        pairs += [(panel, *pair, difference(*(lines[one] for one in pair))) for pair in _pairs(lines)]
    unit = "percentage points" if all(cell.metric.unit == "%" for cell in cells) else "units of the metric"
    said = [*layout.notes, *notes, NOTE.format(label=COSTS[layout.x].label, unit=unit)]
    shown_as = replace(layout, rows=(*layout.rows, *layout.columns, "method"), columns=("against",), cost=())
    table = Lines(shown_as, rows, list(heads), texts, said)
    return EqualCost(layout, list(cells), table, panels, pairs)


def _pairs(lines: Mapping[str, list[Spot]]) -> list[tuple[str, str]]:
    return list(itertools.combinations(filter(None, lines), 2))


def _panels(layout: Layout, cells: Sequence[Cell]) -> dict[tuple[str, ...], dict[str, list[Spot]]]:
    """By panel and line, the results whose cost was measured; what is without reduction stands in every panel."""
    axes = (*layout.rows, *layout.columns)
    reduced = [cell for cell in cells if cell.where["reducer"] != "none"]
    panels: dict[tuple[str, ...], dict[str, list[Spot]]] = {}
    for cell in reduced:
        panels.setdefault(tuple(readable(cell.where.get(axis, "")) for axis in axes), {})
    for cell in cells:
        cost, dense = cost_of(cell, layout.x), cell.where["reducer"] == "none"
        if cell.mean is None or cost is None:
            continue
        own = {axis: cell.where[axis] for axis in axes if axis in cell.where}
        if cell.where["setting"] == BASELINE:
            own.pop("setting", None)
        for panel, lines in panels.items():
            if all(readable(value) == panel[axes.index(axis)] for axis, value in own.items()):
                name = "" if dense else _line_of(layout, cell)
                lines.setdefault(name, []).append(Spot(cost, cell.mean, cell))
    return {
        panel: {name: sorted(spots, key=lambda spot: spot.cost) for name, spots in lines.items()}
        for panel, lines in panels.items()
    }


def _line_of(layout: Layout, cell: Cell) -> str:
    """The method, and its schedule where a sweep has several."""
    method = layout.names.get(cell.where["reducer"], cell.where["reducer"])
    schedule = cell.where.get("schedule", "stages")
    return method if schedule == "stages" else f"{method}, {schedule}"


def _line(spots: Sequence[Spot]) -> tuple[list[float], list[float]]:
    """Costs in ascending order, each once, and scores; of results of the same cost the mean."""
    by_cost: dict[float, list[float]] = {}
    for spot in sorted(spots, key=lambda spot: spot.cost):
        by_cost.setdefault(spot.cost, []).append(spot.score)
    return list(by_cost), [sum(scores) / len(scores) for scores in by_cost.values()]

"""Mean ranks and differences: figures computed from the results of a whole sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from atc.core.metric import Metric
from atc.report.cells import UNREACHABLE, Cell, State
from atc.report.layout import Layout
from atc.report.matching import BASELINE
from atc.report.tables import Table, arrange

KINDS = ("ranks", "differences")
ALL = "all"
Group = tuple[tuple[str, str], ...]  # what results have in common that are compared


def comparison_table(layout: Layout, cells: Sequence[Cell], notes: Sequence[str]) -> Table:
    """One row per method; one column per keep rate, and for ranks one over all of them.

    Only groups count in which every method that can get there was measured: the rank among a part of the methods would
    be another number.

    Args:
        layout: of kind "ranks" or "differences".
        cells: all results.
        notes: lines below the table.

    Returns:
        The table.
    """
    groups, measure = _groups(cells), measure_of(layout, cells)
    complete = {group: members for group, members in groups.items() if all(c.state != "missing" for c in members)}
    complete = {group: members for group, members in complete.items() if all(c.state != "failed" for c in members)}
    scores = {group: _scores(layout, members) for group, members in complete.items()}
    rates = list(dict.fromkeys(dict(group)[layout.x] for group in groups))
    methods = list(dict.fromkeys(cell.where["reducer"] for members in groups.values() for cell in members))
    shown = [method for method in methods if layout.kind == "ranks" or method not in layout.against]
    columns = [ALL, *rates] if layout.kind == "ranks" else rates
    reached = {(cell.where["reducer"], dict(group)[layout.x]) for group, members in groups.items() for cell in members}
    outside = {(cell.where["reducer"], cell.where[layout.x]) for cell in cells if cell.state in UNREACHABLE} - reached
    compared = [
        _cell(
            layout,
            method,
            column,
            [_in_column(layout, column, group, scores[group]) for group in scores],
            "out of reach" if (method, column) in outside else "missing",
            [c for group, members in complete.items() if column in (ALL, dict(group)[layout.x]) for c in members],
        )
        for method in shown
        for column in columns
    ]
    above = "Points above" if measure.higher_is_better else f"{measure.label}, below"
    what = "Mean rank" if layout.kind == "ranks" else f"{above} the best of {', '.join(layout.against)}"
    summary = [
        f"{what} ± standard deviation over backbones and data sets; {len(complete)} of {len(groups)} groups complete."
    ]
    return arrange(replace(layout, rows=("reducer",), columns=(layout.x,)), compared, [*notes, *summary])


def measure_of(layout: Layout, cells: Sequence[Cell]) -> Metric:
    """The metric of what was measured; before that, the one of the layout."""
    return next((cell.metric for cell in cells if cell.values), layout.metrics[0])


def _groups(cells: Sequence[Cell]) -> dict[Group, list[Cell]]:
    """Results that differ in the method alone, those that are out of reach left out."""
    groups: dict[Group, list[Cell]] = {}
    for cell in cells:
        if cell.where["setting"] != BASELINE and cell.where["reducer"] != "none" and cell.state not in UNREACHABLE:
            common = tuple((key, value) for key, value in cell.where.items() if key != "reducer")
            groups.setdefault(common, []).append(cell)
    return groups


def _scores(layout: Layout, members: Sequence[Cell]) -> dict[str, float]:
    """By method: its rank in the group (1 = best, ties share the mean rank), or its lead on the best of `against`."""
    measure = measure_of(layout, members)
    means = {cell.where["reducer"]: cell.mean for cell in members if cell.mean is not None}
    if layout.kind == "ranks":
        return {method: _rank(own, list(means.values()), measure) for method, own in means.items()}
    best = measure.best(means[method] for method in layout.against if method in means)
    return {method: measure.lead(own, best) for method, own in means.items() if method not in layout.against}


def _rank(own: float, values: Sequence[float], metric: Metric) -> float:
    return 1 + sum(metric.better(value, own) for value in values) + (values.count(own) - 1) / 2


def _in_column(layout: Layout, column: str, group: Group, scores: Mapping[str, float]) -> Mapping[str, float]:
    return scores if column in (ALL, dict(group)[layout.x]) else {}


def _cell(
    layout: Layout,
    method: str,
    column: str,
    scores: Sequence[Mapping[str, float]],
    otherwise: State,
    behind: Sequence[Cell],
) -> Cell:
    values = [score[method] for score in scores if method in score]
    where = {"setting": layout.settings[0], "reducer": method, layout.x: column}
    # A rank, and a lead on the best, depends on the others as well.
    remarks = list(dict.fromkeys(f"among the results: {remark}" for cell in behind for remark in cell.remarks))
    measure, remarks = measure_of(layout, behind), remarks if values else []
    return Cell(where, values, "measured" if values else otherwise, remarks=remarks, metric=measure)

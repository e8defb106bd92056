"""Whether patterns stand in for accuracy: rank correlations of similarity with the difference in score."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from atc.study import measures
from atc.study.runs import NONE, Axis

Row = dict[str, Any]
ANCHORS = (NONE, "topk", "kmedoids")


def proxies(
    rows: Sequence[Row], axis: Axis = "method", anchors: Sequence[str] = ANCHORS, resamples: int = 1000
) -> list[Row]:
    """Spearman's and Kendall's correlation of each measure with score A - score B.

    Along method a group is an anchor A at a keep rate, against all other methods at that rate; the anchor without
    reduction is taken with all methods of one rate at a time. Along keep_rate a group is a method and a capacity, along
    capacity a method.

    Args:
        rows: of `atc.study.similarity`.
        axis: which of them count.
        anchors: the methods A along method.
        resamples: of the bootstrap, in which the pairs of a method B are drawn together.

    Returns:
        Rows with `axis`, `anchor`, `data_set`, `capacity`, `keep_rate`, `measure`, `block`, `rho`, `rho_p`,
        `permutation_p`, `tau`, `tau_p`, `n`, and the 95 % intervals `rho_low`, `rho_high`, `tau_low` and `tau_high`.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        scored = row["score_a"] is not None and row["score_b"] is not None
        if row["axis"] == axis and scored and (group := _group(row, axis, anchors)):
            groups[*group, row["measure"], row["block"]].append(row)
    found = []
    for (anchor, data_set, capacity, rate, measure, block), members in groups.items():
        difference = [row["score_a"] - row["score_b"] for row in members]
        column = [row["mean"] for row in members]
        rho, rho_p, tau, tau_p, n = measures.correlation(difference, column)
        of_rho, of_tau = measures.bootstrap(
            difference, column, [row["method_b"] for row in members] if axis == "method" else None, resamples=resamples
        )
        about = {"axis": axis, "anchor": anchor, "data_set": data_set, "capacity": capacity, "keep_rate": rate}
        exact = measures.permutation_p(difference, column)
        numbers = {"rho": rho, "rho_p": rho_p, "permutation_p": exact, "tau": tau, "tau_p": tau_p, "n": n}
        bounds = dict(zip(("rho_low", "rho_high", "tau_low", "tau_high"), (*of_rho, *of_tau), strict=True))
        found.append({**about, "measure": measure, "block": block, **numbers, **bounds})
    return found


def _group(row: Row, axis: Axis, anchors: Sequence[str]) -> tuple[Any, ...] | None:
    """Anchor, data set, capacity and keep rate of the group that a pair belongs to; None if it belongs to none."""
    if axis == "keep_rate":
        return row["method_a"], row["data_set_a"], row["capacity_a"], None
    if axis == "capacity":
        return row["method_a"], row["data_set_a"], None, None
    if axis != "method" or row["method_a"] not in anchors or row["method_b"] == NONE:
        return None
    if row["method_a"] != NONE and row["keep_rate_a"] != row["keep_rate_b"]:
        return None
    return row["method_a"], row["data_set_a"], row["capacity_a"], row["keep_rate_b"]

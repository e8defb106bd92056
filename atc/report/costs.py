"""What a result costs, as its run measured it: operations, images per second, latency."""

from statistics import mean
from typing import NamedTuple

from atc.report.cells import Cell
from atc.report.matching import BASELINE
from atc.runs.record import Record


class Cost(NamedTuple):
    """A cost.

    Attributes:
        head: the head of its column.
        label: along an axis, with its unit.
        decimals: digits after the point.
        less_is_better: False for speed.
    """

    head: str
    label: str
    decimals: int
    less_is_better: bool


COSTS = {
    "gflops": Cost("GFLOPs", "GFLOPs per image", 2, True),
    "images_per_second": Cost("images/s", "images/s", 0, False),
    "latency": Cost("ms", "latency of a batch, ms", 1, True),
}


def cost_of(cell: Cell, name: str) -> float | None:
    """A cost of a result, a mean over its runs.

    GFLOPs are counted in a forward: what predictors, clustering and merging multiply is in them. Images per second, and
    the milliseconds that a batch of them takes, are measured, and hold all that a method does.

    Args:
        cell: the result.
        name: one of `COSTS`.

    Returns:
        The cost; None where a run has not measured it.
    """
    of = "dense" if cell.where["setting"] == BASELINE or cell.where["reducer"] == "none" else "reduced"
    found = [_of_record(record, name, of) for record in cell.records]
    known = [value for value in found if value is not None]
    return mean(known) if known and len(known) == len(found) else None


def _of_record(record: Record, name: str, of: str) -> float | None:
    values = record.result("images_per_second" if name == "latency" else name) or {}
    value = values.get(of)
    if value is None or value <= 0:
        return None
    if name != "latency":
        return value
    size = record.results.get("measured_at_batch_size")
    return 1000 * size / value if isinstance(size, int | float) else None

"""The cells of a table: what was measured, what was published, what is missing."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Literal

from atc.config import untrained
from atc.core import metric as metrics
from atc.core.metric import Metric
from atc.grids.grid import OF_THE_METHOD
from atc.report import same_settings
from atc.report.layout import Layout
from atc.report.matching import BASELINE, Coordinates, Matching, same
from atc.report.same_settings import Runs
from atc.runs.record import Record

State = Literal["measured", "missing", "failed", "out of reach", "needs training"]
UNREACHABLE = ("out of reach", "needs training")
UNTRAINED = "needs training: layers that it learns start at random"
RESULT = {BASELINE: "dense", "off_the_shelf": "off_the_shelf", "fine_tuned": "fine_tuned"}
COLUMN = {"method": "reducer", "dataset": "datamodule", "model": "backbone"}  # names of the published files


@dataclass
class Cell:
    """One result: on the scale on which its metric is shown, one value per seed.

    Attributes:
        where: setting, reducer and the axes of the sweep.
        values: one for each seed.
        state: whether it was measured, and if not, why.
        published: the number that the authors published.
        source: where they did.
        records: those of the runs behind it.
        other_settings: of runs that would stand here as well but differ from those in more than the seed.
        without_score: of runs that lack the number they are scored by.
        remarks: in what it differs from the other cells of its table.
        metric: what the values are of.
        best: "best" of the methods at its place, or "tied" with it; None: neither, or not asked for.
    """

    where: Coordinates
    values: list[float]
    state: State
    published: float | None = None
    source: str | None = None
    records: list[Record] = field(default_factory=list, repr=False)
    other_settings: list[Record] = field(default_factory=list, repr=False)
    without_score: list[Record] = field(default_factory=list, repr=False)
    remarks: list[str] = field(default_factory=list)
    metric: Metric = metrics.ACCURACY
    best: Literal["best", "tied"] | None = None

    @property
    def mean(self) -> float | None:
        """Over the seeds; None if nothing was measured."""
        return mean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None for fewer than two."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def varies(self) -> bool:
        """Whether there are several values that are not one and the same."""
        return len(set(self.values)) > 1

    @property
    def difference(self) -> float | None:
        """Ours less the published number."""
        return None if self.mean is None or self.published is None else self.mean - self.published


def build_cells(layout: Layout, runs: Runs) -> list[Cell]:
    """Every cell that the layout has, measured or not: without reduction first, then in the order of the grids.

    Seeds are averaged over, wherever they stand, unless they are rows or columns, where those of the runs that are
    there are shown if the grids name none.

    Args:
        layout: what the sweep file says.
        runs: the records of the layout's sweeps.

    Returns:
        The cells.
    """
    cells: list[Cell] = []
    first = [BASELINE] if "off_the_shelf" in layout.settings else []  # else there is reducer=none, fine-tuned as well
    told = (*layout.rows, *layout.columns, layout.x)
    points = [(_without_seeds(point, told), point) for point in layout.points]
    if "seed" in told:
        points = [(one, point) for short, point in points for one in _with_seeds(short, runs)]
    unreachable = {frozenset(point.items()) for point in layout.unreachable}
    matching = Matching(runs, [short for short, _ in points])
    learning = untrained.names({point["reducer"] for _, point in points if "reducer" in point}, layout.directories)
    for setting in (*first, *layout.settings):
        wanted: dict[tuple[tuple[str, str], ...], Coordinates] = {}
        within_reach: set[tuple[tuple[str, str], ...]] = set()  # with one of their seeds at least
        for short, point in points:
            for where in _of_each_metric(layout, _where(short, setting, point in layout.tuned)):
                wanted.setdefault(tuple(where.items()), where)
                if frozenset(point.items()) not in unreachable:
                    within_reach.add(tuple(where.items()))
        for key, where in wanted.items():
            cells.append(_cell(layout, where, matching.records_at(where), runs, key in within_reach))
            if setting == "off_the_shelf" and where["reducer"] in learning:
                _mark_untrained(cells[-1])
    return cells


def _mark_untrained(cell: Cell) -> None:
    """Say of a result off the shelf that its method needs training."""
    if cell.values:
        cell.remarks.append(UNTRAINED)
    elif cell.state in ("missing", "out of reach"):
        cell.state = "needs training"


def runs_of_layout(layout: Layout, records: Iterable[Record]) -> Runs:
    """The records of the sweeps that a layout shows."""
    return Runs(record for record in records if record.sweep in layout.sweeps)


def _without_seeds(point: Mapping[str, str], told: Collection[str]) -> Coordinates:
    """A point without its seeds, of the run or of a part such as reducer.seed, but for those that tell rows apart."""
    return {axis: value for axis, value in point.items() if axis in told or not same_settings.is_seed(axis)}


def _with_seeds(point: Coordinates, runs: Runs) -> list[Coordinates]:
    """A point with each of the seeds that runs have, if it names none."""
    seeds = sorted({record.seed for record in runs.records if record.seed is not None})
    return [point] if "seed" in point or not seeds else [point | {"seed": str(seed)} for seed in seeds]


def _where(point: Mapping[str, str], setting: str, tuned: bool) -> Coordinates | None:
    if setting == BASELINE:
        return {"setting": setting, "reducer": "none"} | {
            k: v for k, v in point.items() if k not in (*OF_THE_METHOD, "baselines") and not k.startswith("reducer.")
        }
    if (setting == "fine_tuned" and not tuned) or (setting == "off_the_shelf" and point.get("reducer") == "none"):
        return None
    return {"setting": setting} | dict(point)


def _of_each_metric(layout: Layout, where: Coordinates | None) -> list[Coordinates]:
    """A place for each of the metrics of a layout; the place itself where there is one metric."""
    if where is None:
        return []
    several = len(layout.metrics) > 1
    return [where | {"metric": one.name} for one in layout.metrics] if several else [where]


def _cell(layout: Layout, where: Coordinates, matching: Sequence[Record], runs: Runs, reach: bool) -> Cell:
    baseline = where["setting"] == BASELINE
    of = next((one for one in layout.metrics if one.name == where.get("metric")), None)  # one of several
    result = RESULT[where["setting"]]
    scored: list[Record] = []
    unscored: list[Record] = []
    for record in matching:
        measured = record.result(result)
        if measured is not None and (record.status == "finished" or baseline):
            score = measured.get(_score_name(record, of))
            (scored if is_finite(score) else unscored).append(record)
    together = runs.groups(scored, reduced=not baseline)
    counting = runs.usual(together, reduced=not baseline) if together else []
    last = {same_settings.seeds(record, reduced=not baseline): record for record in counting}
    known = [(record, of or record.scored_by) for record in last.values()]
    values = [one.shown((record.result(result) or {})[_score_name(record, of)] or 0.0) for record, one in known]
    metric = known[0][1] if known else of or layout.metrics[0]
    published = next((row for row in layout.published if _describes(row, where, (of or layout.metrics[0]).name)), None)
    failed = any(record.status == "failed" for record in matching)
    state: State = "measured" if values else "out of reach" if not reach else "failed" if failed else "missing"
    return Cell(
        where,
        values,
        state,
        None if published is None else float(published["value"]),
        None if published is None else published["source"],
        list(last.values()),
        [record for group in together if group is not counting for record in group],
        unscored,
        metric=metric,
    )


def _score_name(record: Record, metric: Metric | None) -> str:
    """Under which name a record has the number of a cell: that of the cell's metric, or what the run is scored by."""
    return str(record.score) if metric is None else metric.name


def is_finite(score: object) -> bool:
    """Whether a score is a number to be shown."""
    return isinstance(score, int | float) and not isinstance(score, bool) and abs(score) < math.inf


def _describes(row: Mapping[str, str], where: Coordinates, metric: str) -> bool:
    published = {COLUMN.get(key, key): value for key, value in row.items()}
    if published.get("metric") != metric or published.get("setting") != where["setting"]:
        return False
    if where["reducer"] != "none" and any(key in published and key not in where for key in OF_THE_METHOD):
        return False
    return all(same(published[key], where[key]) for key in published if key in where)

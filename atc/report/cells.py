"""The cells of a table: what was measured, what was published, what is missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any, Literal

from atc.report import alike, identity
from atc.report.layout import Layout
from atc.report.store import Entry

Coordinates = dict[str, str]
State = Literal["measured", "missing", "failed", "out of reach"]
BASELINE = "no_reduction"
OF_THE_METHOD = ("reducer", "keep_rate", "schedule", "t", "blocks", "schedule.clamp")  # mean nothing without reduction
RESULT = {BASELINE: "dense", "off_the_shelf": "off_the_shelf", "fine_tuned": "fine_tuned"}
COLUMN = {"method": "reducer", "dataset": "datamodule", "model": "backbone"}  # names of the published files


@dataclass
class Cell:
    """One result: in percent, one value per seed.

    where: setting, reducer and the axes of the sweep. entries: the runs behind it. other_settings: runs that would
    stand here as well but differ from those in more than the seed. without_score: runs that lack the number they are
    scored by.
    """

    where: Coordinates
    values: list[float]
    state: State
    published: float | None = None
    source: str | None = None
    entries: list[Entry] = field(default_factory=list, repr=False)
    other_settings: list[Entry] = field(default_factory=list, repr=False)
    without_score: list[Entry] = field(default_factory=list, repr=False)

    @property
    def mean(self) -> float | None:
        """Over the seeds; None if nothing was measured."""
        return mean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None for fewer than two."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours less the published number."""
        return None if self.mean is None or self.published is None else self.mean - self.published


def build(layout: Layout, entries: Iterable[Entry]) -> list[Cell]:
    """Every cell that the layout has, measured or not: without reduction first, then in the order of the grids."""
    own = [entry for entry in entries if entry.get("sweep") in layout.sweeps]
    cells: list[Cell] = []
    first = [BASELINE] if "off_the_shelf" in layout.settings else []  # else there is reducer=none, fine-tuned as well
    for setting in (*first, *layout.settings):
        wanted: dict[tuple[tuple[str, str], ...], Coordinates] = {}
        for point in layout.points:
            where = _where(point, setting, point in layout.tuned)
            if where is not None:
                wanted.setdefault(tuple(where.items()), where)
        for where in wanted.values():
            reach = all(unreachable.items() - where.items() for unreachable in layout.unreachable)
            cells.append(_cell(layout, where, own, reach))
    return cells


def _where(point: Mapping[str, str], setting: str, tuned: bool) -> Coordinates | None:
    if setting == BASELINE:
        return {"setting": setting, "reducer": "none"} | {k: v for k, v in point.items() if k not in OF_THE_METHOD}
    if (setting == "fine_tuned" and not tuned) or (setting == "off_the_shelf" and point.get("reducer") == "none"):
        return None
    return {"setting": setting} | dict(point)


def _cell(layout: Layout, where: Coordinates, entries: Sequence[Entry], reach: bool) -> Cell:
    baseline = where["setting"] == BASELINE
    axes = {key: value for key, value in where.items() if key != "setting" and not (baseline and key == "reducer")}
    matching = [entry for entry in entries if all(_agrees(entry, key, value) for key, value in axes.items())]
    result, scored, unscored = RESULT[where["setting"]], [], []
    for entry in matching:
        measured = entry.get("results", {}).get(result)
        if measured is not None and (entry["status"] == "finished" or baseline):
            (scored if entry.get("score") in measured else unscored).append(entry)
    together = alike.groups(scored, reduced=not baseline)
    counting = alike.usual(together, entries, reduced=not baseline) if together else []
    last = {entry.get("seed"): entry for entry in counting}  # of a seed
    values = [100 * entry["results"][result][entry["score"]] for entry in last.values()]
    published = next((row for row in layout.published if _describes(row, where, layout.metric)), None)
    failed = any(entry["status"] == "failed" for entry in matching)
    state: State = "measured" if values else "out of reach" if not reach else "failed" if failed else "missing"
    return Cell(
        where,
        values,
        state,
        None if published is None else float(published["value"]),
        None if published is None else published["source"],
        list(last.values()),
        [entry for group in together if group is not counting for entry in group],
        unscored,
    )


def _agrees(entry: Entry, key: str, value: str) -> bool:
    """Whether a run has this value; settings that do not determine a result are not recorded, and agree.

    So do weights, which are recorded by what is in them: the other axes tell such runs apart.
    """
    if key in identity.WEIGHTS:
        return True
    found: Any = entry.get(key)
    if key not in entry:
        found = entry.get("config", {})
        for part in key.split("."):
            if not isinstance(found, dict) or part not in found:
                return True
            found = found[part]
    return same(found, value)


def _describes(row: Mapping[str, str], where: Coordinates, metric: str) -> bool:
    said = {COLUMN.get(key, key): value for key, value in row.items()}
    if said.get("metric") != metric or said.get("setting") != where["setting"]:
        return False
    if where["reducer"] != "none" and any(key in said and key not in where for key in OF_THE_METHOD):
        return False
    return all(same(said[key], where[key]) for key in said if key in where)


def same(a: Any, b: Any) -> bool:
    """Equal as numbers, if they are numbers, else as text."""
    try:
        return float(a) == float(b)
    except (TypeError, ValueError):
        return str(a).replace(" ", "") == str(b).replace(" ", "")

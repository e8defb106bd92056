"""Which records stand at a place of a table: those with the values of its axes."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from atc.grids import grid
from atc.report import expected
from atc.report.same_settings import Runs
from atc.runs import identity
from atc.runs.record import Record

Coordinates = dict[str, str]  # of a place: setting, reducer and the axes of the sweep
BASELINE = "no_reduction"  # the setting of results without it
AMOUNTS = ("keep_rate", "threshold", "t")  # of which a schedule has one
OF_THE_RECORD = ("selection", "score", "metric", "status", "results", "config", "code", "sweep")  # no axes


class Matching:
    """Finds the records of a place, of which there may be many thousands.

    Args:
        runs: the records.
        points: those of the grids, whose axes count.
    """

    def __init__(self, runs: Runs, points: Iterable[Mapping[str, str]]) -> None:
        """Read off each record what it has on each axis."""
        self._axes = list(dict.fromkeys(["reducer", *(axis for point in points for axis in point)]))
        self._alike: dict[str, list[tuple[int, Record]]] = {}  # that have the same values on all axes
        self._values: dict[str, dict[str, list[str] | None]] = {}
        for number, record in enumerate(runs.records):
            values = {axis: _recorded(record, axis) for axis in self._axes}
            key = json.dumps(list(values.values()))
            self._values[key] = values
            self._alike.setdefault(key, []).append((number, record))

    def records_at(self, where: Coordinates) -> list[Record]:
        """The records at these coordinates, the earliest first."""
        baseline = where["setting"] == BASELINE
        axes = {
            key: value
            for key, value in where.items()
            if key not in ("setting", "metric") and not (baseline and key == "reducer")
        }
        numbered = [
            pair
            for key, pairs in self._alike.items()
            if all(_agrees(self._values[key][axis], axis, value) for axis, value in axes.items())
            for pair in pairs
        ]
        return [record for _, record in sorted(numbered, key=lambda pair: pair[0])]


def _recorded(record: Record, key: str) -> list[str] | None:
    """What a record has for an axis; None where it says nothing. Several values where several settings are made of it.

    Weights are recorded by what is in them: the other axes tell such runs apart.
    """
    name = key.lstrip("+~")
    if name in identity.WEIGHTS or expected.is_without_effect(name):
        return None
    value: Any = record.config
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None or isinstance(value, dict):
        value = record.part(name) if name not in OF_THE_RECORD else None
    if value is None and name in expected.COUNTS:
        found = [typed(one) for one in _leaves(record.config, name)]
        # A run up to a threshold, or of t tokens a block, has no keep rate, rather than any.
        others = name in AMOUNTS and any(_leaves(record.config.get("schedule"), one) for one in AMOUNTS)
        return found or (["null"] if others else None)
    return ["null"] if value is None else [typed(value)]


def _leaves(node: object, name: str) -> list[object]:
    """The values of settings of this name, wherever they are."""
    if not isinstance(node, dict):
        return []
    inner = [value for key, one in node.items() if key != name for value in _leaves(one, name)]
    return [node[name], *inner] if name in node and not isinstance(node[name], dict) else inner


def _agrees(recorded: list[str] | None, key: str, value: str) -> bool:
    """Whether a run has this value; what says nothing about results is not recorded, and agrees."""
    return recorded is None or all(same(one, value) for one in recorded)


def same(one: object, other: object) -> bool:
    """Equal as numbers, if they are numbers, else as text."""
    a, b = typed(one), typed(other)
    try:
        if math.isfinite(float(a)) and math.isfinite(float(b)):
            return float(a) == float(b)
    except ValueError:
        pass
    return a.replace(" ", "") == b.replace(" ", "")


def typed(value: object) -> str:
    """A value as one would type it: 0.5, [4,7,10], null, true, tome."""
    text = grid.as_typed({"": value})[""]
    return text.lower() if text in ("True", "False") else text

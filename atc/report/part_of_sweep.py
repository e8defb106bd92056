"""Which runs of a sweep a table or figure shows: those that `report.only` names."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atc.config import build
from atc.grids import grid


def chosen(points: list[grid.Point], only: Mapping[str, Sequence[Any]]) -> tuple[grid.Point, ...]:
    """The points that have a named value of each axis, or have no such axis.

    Args:
        points: of the grids of the sweeps.
        only: values by axis.
    """
    return tuple(p for p in points if all(p.get(axis) in (None, *map(str, own)) for axis, own in only.items()))


def check(points: list[grid.Point], only: Mapping[str, Sequence[Any]], file: Path) -> None:
    """Refuse an axis or a value that no run has.

    Args:
        points: of the grids of the sweeps.
        only: values by axis.
        file: the sweep file.

    Raises:
        ValueError: no run has it; the message names the file and the nearest there is.
    """
    for axis, value in ((axis, str(value)) for axis, values in only.items() for value in values):
        there = list(dict.fromkeys(point[axis] for point in points if axis in point))
        if value not in there:
            nearest = build.nearest(value if there else axis, there or list(dict.fromkeys(itertools.chain(*points))))
            raise ValueError(f"{file}: report.only: no run has {axis}={value}: {nearest}")

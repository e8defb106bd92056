"""The grids of a sweep: settings with the values they take, several grids one after another."""

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import OmegaConf

OF_THE_METHOD = ("reducer", "keep_rate", "schedule", "t", "blocks", "schedule.clamp")  # mean nothing without reduction

Point = dict[str, str]  # one run of a grid: a value, as typed, for each axis


def points(grids: Iterable[Mapping[str, Any]]) -> list[Point]:
    """All points of all grids, in order."""
    every: list[Point] = []
    for grid in grids:
        lists = [value if is_list(value) else [value] for value in grid.values()]
        every += [as_typed(dict(zip(grid, point, strict=True))) for point in itertools.product(*lists)]
    return every


def as_typed(point: Mapping[str, Any]) -> Point:
    """Values as one would type them: 0.5, [4,7,10], null, tome."""
    plain = {key: OmegaConf.to_object(value) if OmegaConf.is_config(value) else value for key, value in point.items()}
    return {
        key: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for key, value in plain.items()
    }


def within(point: Mapping[str, str], parts: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a point has all the values of one of `parts`."""
    return any(as_typed(part).items() <= point.items() for part in parts)


def is_list(value: object) -> bool:
    """Whether an axis has several values."""
    return OmegaConf.is_list(value) or isinstance(value, list | tuple)


def grids_text(grids: Iterable[Mapping[str, Any]]) -> str:
    """The grids on one line."""
    return "; ".join(
        " ".join(
            f"{axis}={','.join(as_typed({axis: one})[axis] for one in (value if is_list(value) else [value]))}"
            for axis, value in grid.items()
        )
        for grid in grids
    )

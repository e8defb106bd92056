"""The grids of a sweep: settings with the values they take, several grids one after another."""

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from atc.values import shown

# They mean nothing without reduction.
OF_THE_METHOD = ("reducer", "keep_rate", "threshold", "schedule", "t", "blocks", "schedule.clamp", "teacher")

Point = dict[str, str]  # one run of a grid: a value, as typed, for each axis


COMMANDS = {"train": "train.py", "evaluate": "evaluate.py", "generate": "python -m atc.diffusion.generate"}


def check_command(sweep: str, command: str, script: str) -> None:
    """ValueError for a sweep that is started by the script of another command.

    Args:
        sweep: its name.
        command: that it is for.
        script: by which the process was started, as sys.argv has it.
    """
    started = Path(script).stem.removeprefix("atc-")
    if started != command and {started, command} <= COMMANDS.keys():
        raise ValueError(f"{sweep} is a sweep for {COMMANDS[command]}, not for {COMMANDS[started]}")


def check_name(file: str, sweeps: Iterable[object]) -> None:
    """ValueError for a sweep of another name than its file's, by which reports look for its runs.

    Args:
        file: the file's name, without its ending.
        sweeps: the setting `sweep` of each run; None where it has none.
    """
    for sweep in sweeps:
        if sweep == file:
            continue
        wrong = "it has no setting sweep" if sweep is None else f"sweep={shown(sweep)}"
        raise ValueError(f"{file}.yaml: {wrong}, and reports find runs by the file's name: it has to say sweep: {file}")


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
    """Whether a point has all the values of one of `parts`; of a list, one of its values."""
    return any(one.items() <= point.items() for one in points(parts))


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

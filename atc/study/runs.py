"""Traced runs, and which of them are compared along an axis."""

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from atc.runs import record_file
from atc.runs.traces import DIRECTORY, INDEX, TraceFiles, open_trace

Axis = Literal["keep_rate", "capacity", "method", "data_set"]
AXES: tuple[Axis, ...] = get_args(Axis)
NONE = "none"  # the reducer of a run without reduction


@dataclass(frozen=True)
class TracedRun:
    """A run with a trace.

    Attributes:
        method: its reducer.
        keep_rate: share kept by a stage; None without reduction.
        capacity: its backbone.
        data_set: its datamodule.
        score: what it reached, in its metric's unit, such as percent; None if it reached nothing.
        size: GFLOPs of the backbone without reduction, by which capacities are ordered.
        trace: its files.
    """

    method: str
    keep_rate: float | None
    capacity: str
    data_set: str
    score: float | None
    size: float
    trace: TraceFiles

    @property
    def key(self) -> str:
        """Such as "topk deit_tiny imagenet 0.5"."""
        rate = "" if self.keep_rate is None else f" {self.keep_rate:g}"
        return f"{self.method} {self.capacity} {self.data_set}{rate}"


Pair = tuple[TracedRun, TracedRun]


def traced_runs(directories: Iterable[Path]) -> list[TracedRun]:
    """All finished runs with a trace in, or below, some directories.

    Args:
        directories: where to look.

    Returns:
        The runs by data set, capacity, method and falling keep rate; without reduction first.

    Raises:
        ValueError: there are none, one is damaged, or two are the same but for what is not compared.
    """
    directories = list(directories)
    found: dict[Path, TracedRun] = {}
    for directory in directories:
        if not directory.is_dir():
            raise ValueError(f"{directory}: no such directory (looked from {Path.cwd()})")
        for file in sorted(directory.glob(f"**/{DIRECTORY}/{INDEX}")):
            found.setdefault(file.resolve(), _run_of(file.parent.parent))
    if not found:
        places = ", ".join(map(str, directories))
        raise ValueError(f"no run with a finished trace in {places}: evaluate.py trace=true writes them")
    runs = sorted(found.values(), key=_order)
    for one, other in itertools.pairwise(runs):
        if one.key == other.key:
            raise ValueError(
                f"{one.trace.directory.parent} and {other.trace.directory.parent} are both {one.key}: one run of each "
                f"is compared; name the directories that count"
            )
    return runs


def _order(run: TracedRun) -> tuple[str, float, str, bool, str, float]:
    return run.data_set, run.size, run.capacity, run.method != NONE, run.method, -(run.keep_rate or 0)


def _run_of(directory: Path) -> TracedRun:
    trace = open_trace(directory)
    record = record_file.read(directory / record_file.FILE)
    score = None
    for name in ("checkpoint", "off_the_shelf", "dense"):
        result = record.result(name)
        value = (result or {}).get(str(record.score))
        if value is not None:
            score = value * record.scored_by.scale
            break
    size = (record.result("gflops") or {}).get("dense") or 0.0
    run = trace.run
    rate = None if run["reducer"] == NONE or run["keep_rate"] is None else _single(run["keep_rate"], directory)
    return TracedRun(str(run["reducer"]), rate, str(run["backbone"]), str(run["datamodule"]), score, size, trace)


def _single(rate: float | Sequence[float], directory: Path) -> float:
    """The keep rate of a run whose stages have the same."""
    rates = set(rate) if isinstance(rate, list | tuple) else {rate}
    if len(rates) != 1:
        raise ValueError(f"{directory}: keep_rate={rate} differs between stages; the study compares single rates")
    return float(rates.pop())  # type: ignore[arg-type]  # a number


def pairs(runs: Sequence[TracedRun], axis: Axis) -> list[Pair]:
    """The pairs (A, B) that are compared along an axis: all else is the same.

    Along keep_rate A has the higher rate, along capacity the larger backbone. Along method every pair comes in both
    orders; the keep rate is the same, but for methods that keep as many tokens as they find fit, and for none. Along
    data_set A comes first by name.

    Args:
        runs: from `traced_runs`.
        axis: what differs.

    Returns:
        Pairs in the order of the runs.
    """
    found: list[Pair] = []
    for one, other in itertools.combinations(runs, 2):
        same = {
            "method": one.method == other.method,
            "keep_rate": one.keep_rate == other.keep_rate,
            "capacity": one.capacity == other.capacity,
            "data_set": one.data_set == other.data_set,
        }
        if axis == "method" and not same["method"]:
            same["keep_rate"] |= any(_keeps_what_it_finds_fit(run.method) for run in (one, other))
        if same.pop(axis) or not all(same.values()):
            continue
        if axis == "keep_rate":
            found.append((one, other) if (one.keep_rate or 0) > (other.keep_rate or 0) else (other, one))
        elif axis == "capacity":
            found.append((one, other) if one.size > other.size else (other, one))
        else:
            found.append((one, other))
            if axis == "method":
                found.append((other, one))
    return found


@functools.cache
def _keeps_what_it_finds_fit(method: str) -> bool:
    """Whether no keep rate of a method is the counterpart of another method's."""
    from atc.config import build  # lazily, as PyTorch
    from atc.core import Reducer
    from atc.vit.reduced import reducer_class

    if method not in build.names("reducer"):
        return False
    found = reducer_class(build.find_reducer(method))
    own_counts = any("possible_counts" in vars(cls) for cls in found.__mro__ if cls is not Reducer)
    return found.dynamic or own_counts or not found.reduces


def check_same_images(one: TracedRun, other: TracedRun) -> None:
    """ValueError unless two runs are of the same images, cut into the same patches."""
    if one.trace.grid != other.trace.grid:
        raise ValueError(f"{one.key} has {one.trace.grid} patches an image, {other.key} {other.trace.grid}")
    if one.data_set != other.data_set or one.trace.images != other.trace.images:
        raise ValueError(
            f"{one.key} is of {one.trace.images} images of {one.data_set}, {other.key} of {other.trace.images} of "
            f"{other.data_set}: they have to be the same"
        )
    if not all("target" in run.trace.columns for run in (one, other)):
        return
    if not np.array_equal(one.trace.whole("target"), other.trace.whole("target")):
        raise ValueError(f"{one.key} and {other.key} are of other images: their targets differ")

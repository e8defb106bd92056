"""Timing several candidates in one process so that each meets the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles
from typing import NamedTuple, TypeVar

Name = TypeVar("Name")


class Timing(NamedTuple):
    """Seconds of one run, of several."""

    least: float
    median: float
    runs: int
    spread: float = 0.0  # between the quartiles; 0 for a single run
    all: tuple[float, ...] = ()  # round by round: those of one round met the same machine


def interleave(
    candidates: Mapping[Name, Callable[[], object]],
    runs: int = 7,
    clock: Callable[[], float] = time.thread_time,
    wait: Callable[[], object] = lambda: None,
) -> dict[Name, Timing]:
    """Run all candidates in turn, ``runs`` times, after one warm-up of each.

    A candidate is called twice in a row and the second call is timed: the first puts its code and data where
    repeated use would have them, whatever the candidate before it left behind.

    Args:
        candidates: name to call.
        runs: timed rounds.
        clock: thread CPU time for what runs in this thread, wall-clock time for what does not.
        wait: returns when everything that was started has finished: ``torch.cuda.synchronize`` on a GPU.
    """
    for candidate in candidates.values():
        candidate()
    seconds: dict[Name, list[float]] = {name: [] for name in candidates}
    for _ in range(runs):
        for name, candidate in candidates.items():
            candidate()
            wait()
            start = clock()
            candidate()
            wait()
            seconds[name].append(clock() - start)
    return {name: summary(times) for name, times in seconds.items()}


def summary(seconds: Sequence[float]) -> Timing:
    """What is said of the times of several runs."""
    low, _, high = quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else (0.0, 0.0, 0.0)
    return Timing(min(seconds), median(seconds), len(seconds), high - low, tuple(seconds))

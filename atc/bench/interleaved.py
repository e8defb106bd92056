"""Timing several candidates in one process so that each meets the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import NamedTuple


class Timing(NamedTuple):
    """Seconds of one run."""

    least: float
    median: float
    runs: int


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    runs: int = 7,
    clock: Callable[[], float] = time.thread_time,
    wait: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
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
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(runs):
        for name, candidate in candidates.items():
            candidate()
            wait()
            start = clock()
            candidate()
            wait()
            seconds[name].append(clock() - start)
    return {name: Timing(min(times), median(times), len(times)) for name, times in seconds.items()}

"""How much work a clustering took, in numbers that do not depend on the machine."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from atc.ops.linkage import cpu
from atc.ops.linkage.dispatch import check_distance, check_options, check_values, wide


class Effort(NamedTuple):
    """Counts of the compiled kernel, one number an image, float64."""

    merges: Tensor  # [B] N - K
    rescans_per_merge: Tensor  # [B] rows scanned again because their bound had become stale
    cells_per_square: Tensor  # [B] cells read after the first pass, over N * N
    replays_per_merge: Tensor  # [B] merges that rows caught up with when they were touched
    doubts: Tensor  # [B] merges that float32 could not decide, and exact sums did (average linkage)
    restarts: Tensor  # [B] 1 where there were so many of them that all was done in float64, else 0


def effort(distance: Tensor, keep: int, method: str) -> Effort:
    """Cluster with the compiled kernel and count.

    Arguments and errors are those of :func:`atc.ops.linkage.labels`.

    Raises:
        RuntimeError: there is no compiled kernel.
    """
    check_distance(distance)
    check_values(distance)
    keep, _ = check_options(keep, method, None, False)
    counters = cpu.cluster(wide(distance.detach()).cpu(), keep, method, want_counters=True).counters
    assert counters is not None
    merges, rescans, cells, replayed, doubts, restarts = counters.double().unbind(1)
    some = merges.clamp_min(1)
    tokens = distance.shape[1]
    return Effort(merges, rescans / some, cells / max(tokens * tokens, 1), replayed / some, doubts, restarts)

"""The oracle: greedy agglomerative clustering of one image, written to be obviously right.

Every other backend must return these merges to the bit. One loop iteration is one merge: look at all pairs of
live clusters, take the first closest one, join it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def merge_greedily(
    distance: Matrix, keep: int, method: str, neighbours: NDArray[np.bool_] | None = None, once: bool = False
) -> tuple[list[tuple[int, int]], list[float]]:
    """Merge the closest two clusters until ``keep`` are left.

    A cluster has the slot of its largest member. Among equally close pairs the one with the smallest
    (smaller slot, larger slot) is merged; a NaN is farther than anything, infinity included.

    With ``neighbours``, the closest two neighbours are merged, and a union has the neighbours of both; where there are
    no two neighbours any more, all clusters are neighbours from then on.

    Args:
        distance: ``[N, N]`` float64; only the part above the diagonal is read.
        keep: clusters to leave, at least 1; N or more merges nothing.
        method: single, complete, average or ward.
        neighbours: ``[N, N]``, which tokens are neighbours; only the part above the diagonal is read. None: all.
        once: a union merges no further; the merges end early where no two neighbours are left.

    Returns:
        The merges in order, as (slot that disappears, larger slot that stays), and their heights.
    """
    tokens = len(distance)
    above = np.triu(distance, 1)
    # For average linkage `value` holds sums over all pairs of members: they are exact for float32 cosine
    # distances (multiples of 2**-24), so that no order of merging can change a result.
    value = above + above.T
    size = np.ones(tokens)
    alive = np.ones(tokens, dtype=bool)
    beside = np.ones((tokens, tokens), dtype=bool) if neighbours is None else np.triu(neighbours, 1)
    beside = beside | beside.T
    merges: list[tuple[int, int]] = []
    heights: list[float] = []
    with np.errstate(invalid="ignore", over="ignore"):
        while len(merges) < tokens - keep:
            pairs = np.argwhere(np.triu(np.outer(alive, alive) & beside, 1))
            if not len(pairs):
                if once:
                    break
                beside[:] = True
                continue
            apart = value / np.outer(size, size) if method == "average" else value
            low, high = _closest(apart, pairs)
            merges.append((low, high))
            heights.append(float(apart[low, high]))
            value[high] = _joined(value, size, low, high, method)
            value[:, high] = value[high]
            size[high] += size[low]
            beside[high] |= beside[low]
            beside[:, high] = beside[high]
            alive[low] = False
            alive[high] = not once
    return merges, heights


def _closest(apart: Matrix, pairs: NDArray[np.int64]) -> tuple[int, int]:
    """The closest pair; the first of equals in row-major order, which is that of (smaller, larger slot)."""
    values = apart[pairs[:, 0], pairs[:, 1]]
    # nanargmin would take NaN and infinity for equal.
    nearest = 0 if np.isnan(values).all() else int(np.argmax(values == np.nanmin(values)))
    return int(pairs[nearest, 0]), int(pairs[nearest, 1])


def _joined(value: Matrix, size: Matrix, low: int, high: int, method: str) -> Matrix:
    """The new row of ``high`` after it has taken in ``low``."""
    one, other = value[low], value[high]
    if method == "single":
        return np.fmin(one, other)
    if method == "complete":
        return np.maximum(one, other)
    if method == "average":
        return one + other
    # Ward, by the recurrence of Lance and Williams (1967) on squared distances.
    grown = (size[low] + size) * one + (size[high] + size) * other
    return (grown - size * value[low, high]) / (size[low] + size[high] + size)

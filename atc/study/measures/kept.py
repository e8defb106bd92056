"""How much two sets of kept patches have in common."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def iou(kept_a: ArrayLike, kept_b: ArrayLike) -> float:
    """Intersection over union of two sets of patches.

    Args:
        kept_a: 1-D patch numbers, in any order; negative ones (padding, fused tokens) are ignored, repeated ones count
            once.
        kept_b: likewise.

    Returns:
        A share in [0, 1]; 0 where the sets have nothing in common, also if both are empty.

    Raises:
        ValueError: not 1-D, or not whole numbers.
    """
    a, b = _patches("kept_a", kept_a), _patches("kept_b", kept_b)
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common) if common else 0.0


def ioa(kept_a: ArrayLike, kept_b: ArrayLike) -> float:
    """Intersection over the size of the second set: how much of B is in A.

    Args:
        kept_a: as in `iou`.
        kept_b: as in `iou`.

    Returns:
        A share in [0, 1]; 0 where the sets have nothing in common.

    Raises:
        ValueError: not 1-D, or not whole numbers.
    """
    a, b = _patches("kept_a", kept_a), _patches("kept_b", kept_b)
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / len(b) if common else 0.0


def _patches(name: str, kept: ArrayLike) -> NDArray[np.int64]:
    """The distinct patches of a set, in order."""
    given = np.asarray(kept)
    if given.ndim != 1:
        raise ValueError(f"{name} must be 1-D patch numbers, got shape {list(given.shape)}")
    if given.dtype == bool:
        raise ValueError(f"{name} must be patch numbers, got a mask: numpy.flatnonzero makes numbers of it")
    numbers = given.astype(np.int64)
    if not np.issubdtype(given.dtype, np.integer) and not np.array_equal(numbers, given):
        raise ValueError(f"{name} must be whole patch numbers, got {given.dtype}")
    return np.unique(numbers[numbers >= 0])

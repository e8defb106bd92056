"""What similarity two patterns have by chance: all similarities grow with the number of tokens kept."""

import functools

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import hypergeom
from sklearn.metrics import adjusted_mutual_info_score

from atc.study.measures.merges import labels


@functools.lru_cache(maxsize=4096)
def expected_iou(size_a: int, size_b: int, patches: int) -> float:
    """The expected `iou` of two random sets of these sizes.

    Args:
        size_a: how many patches the first has.
        size_b: how many the second has.
        patches: of how many each is drawn.

    Returns:
        The exact mean over all pairs of sets; what they share is hypergeometric.

    Raises:
        ValueError: a size outside of 0 to `patches`.
    """
    _check_sizes(size_a, size_b, patches)
    common = np.arange(max(0, size_a + size_b - patches), min(size_a, size_b) + 1)
    union = np.maximum(size_a + size_b - common, 1)  # two empty sets: 0
    return float(hypergeom.pmf(common, patches, size_a, size_b) @ (common / union))


def expected_ioa(size_a: int, size_b: int, patches: int) -> float:
    """The expected `ioa` of two random sets of these sizes: the share of patches that the first has.

    Args:
        size_a: how many patches the first has.
        size_b: how many the second has.
        patches: of how many each is drawn.

    Returns:
        The exact mean over all pairs of sets.

    Raises:
        ValueError: a size outside of 0 to `patches`.
    """
    _check_sizes(size_a, size_b, patches)
    return size_a / patches if size_b and patches else 0.0


def adjusted_mutual_information(true: ArrayLike, predicted: ArrayLike) -> float:
    """Mutual information of two clusterings beyond that of random ones with clusters of the same sizes.

    Args:
        true: as in `clusterings`.
        predicted: likewise.

    Returns:
        scikit-learn's score: 1 for equal clusterings, 0 on average for random ones, below 0 for less than chance.

    Raises:
        ValueError: not 1-D, or of different lengths.
    """
    a, b = labels("true", true), labels("predicted", predicted)
    if a.shape != b.shape:
        raise ValueError(f"true and predicted must label the same patches, got {len(a)} and {len(b)}")
    return float(adjusted_mutual_info_score(a, b))


def _check_sizes(size_a: int, size_b: int, patches: int) -> None:
    if not (0 <= size_a <= patches and 0 <= size_b <= patches):
        raise ValueError(f"sets of {size_a} and {size_b} cannot be drawn from {patches} patches")

"""How much two groupings of the same patches have in common."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import homogeneity_completeness_v_measure


def clusterings(true: ArrayLike, predicted: ArrayLike) -> tuple[float, float, float]:
    """Homogeneity, completeness and V-measure of two clusterings (natural logarithms; scikit-learn's definition).

    The V-measure is also the mutual information normalised by the arithmetic mean of the entropies.

    Args:
        true: 1-D labels, one per patch.
        predicted: as many.

    Returns:
        Homogeneity: 1 where each predicted cluster lies inside one true cluster. Completeness: the same with the
        roles exchanged. Their harmonic mean, 0 where both are 0.

    Raises:
        ValueError: not 1-D, or of different lengths.
    """
    a, b = labels("true", true), labels("predicted", predicted)
    if a.shape != b.shape:
        raise ValueError(f"true and predicted must label the same patches, got {len(a)} and {len(b)}")
    homogeneity, completeness, v = homogeneity_completeness_v_measure(a, b)
    return float(homogeneity), float(completeness), float(v)


def compose(assignments: Sequence[ArrayLike]) -> NDArray[np.int64]:
    """The clusters of the source patches after several stages.

    Args:
        assignments: per stage the label of each token that enters it, 1-D.

    Returns:
        The label of each source patch after the last stage; -1 where a stage dropped it.
    """
    first, *later = (labels("an assignment", stage).astype(np.int64) for stage in assignments)
    for stage in later:
        first = np.where(first < 0, -1, stage[first])
    return first


def labels(name: str, given: ArrayLike) -> NDArray[np.int64]:
    """Labels as an array; ValueError if they are not 1-D."""
    found = np.asarray(given)
    if found.ndim != 1:
        raise ValueError(f"{name} must be 1-D labels, got shape {list(found.shape)}")
    return found

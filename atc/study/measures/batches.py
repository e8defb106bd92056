"""The measures of patterns for many images at once: the same numbers, without a Python loop over images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Bits = NDArray[np.bool_]
Labels = NDArray[np.int64]
MOST_CELLS = 1 << 22  # of the tables of all images that are counted at once


def kept_of_each(a: Bits, b: Bits) -> tuple[Values, Values]:
    """`iou` and `ioa` of each image.

    Args:
        a: ``[images, patches]``, whether a patch is kept.
        b: likewise.

    Returns:
        ``[images]`` each.
    """
    common = (a & b).sum(axis=1)
    return common / np.maximum((a | b).sum(axis=1), 1), common / np.maximum(b.sum(axis=1), 1)


def clusterings_of_each(true: Labels, predicted: Labels) -> tuple[Values, Values, Values]:
    """`clusterings` of each image.

    Args:
        true: ``[images, patches]`` labels; negative ones are a cluster of their own.
        predicted: likewise.

    Returns:
        Homogeneity, completeness and V-measure, ``[images]`` each.
    """
    true, predicted = (labels - min(0, int(labels.min(initial=0))) for labels in (true, predicted))
    cells = (int(true.max(initial=0)) + 1) * (int(predicted.max(initial=0)) + 1)
    step = max(1, MOST_CELLS // cells)
    pieces = [_of_some(true[i : i + step], predicted[i : i + step]) for i in range(0, max(len(true), 1), step)]
    homogeneity, completeness, v = (np.concatenate(values) for values in zip(*pieces, strict=True))
    return homogeneity, completeness, v


def _of_some(true: Labels, predicted: Labels) -> tuple[Values, Values, Values]:
    images, patches = true.shape
    classes, clusters = int(true.max(initial=0)) + 1, int(predicted.max(initial=0)) + 1
    cells = (np.arange(images)[:, None] * classes + true) * clusters + predicted
    counts = np.bincount(cells.ravel(), minlength=images * classes * clusters).reshape(images, classes, clusters)
    of_true, of_predicted = _entropy(counts.sum(axis=2), patches), _entropy(counts.sum(axis=1), patches)
    joint = _entropy(counts.reshape(images, -1), patches)
    information = np.maximum(of_true + of_predicted - joint, 0)
    homogeneity, completeness = _share(information, of_true), _share(information, of_predicted)
    both = homogeneity + completeness
    v = np.divide(2 * homogeneity * completeness, both, out=np.zeros(images), where=both > 0)
    return homogeneity, completeness, v


def _entropy(counts: NDArray[Any], total: int) -> Values:
    """[images, groups] -> [images], natural logarithm."""
    logs = np.log(counts, out=np.zeros(counts.shape), where=counts > 0)
    entropy = np.log(total) - (counts * logs).sum(axis=1) / total
    return np.where((counts > 0).sum(axis=1) > 1, entropy, 0.0)  # one group: exactly none


def _share(information: Values, entropy: Values) -> Values:
    """Of the entropy, how much the information is; 1 where there is none."""
    return np.divide(information, entropy, out=np.ones(len(entropy)), where=entropy > 0)

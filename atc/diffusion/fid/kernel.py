"""The kernel Inception distance, without bias at any number of images, and an interval for it."""

from typing import Any, NamedTuple

import numpy as np

from atc.diffusion.fid.frechet import Array, checked_features

_BLOCK = 1024  # rows of a kernel matrix that are held at a time


class KernelDistance(NamedTuple):
    """A distance and an interval for it.

    Attributes:
        value: the distance of all images; below 0 by chance where there is none.
        low: end of the bootstrap interval.
        high: its other end.
    """

    value: float
    low: float
    high: float


def kernel_distance(x: Any, y: Any, resamples: int = 500, seed: int = 0, level: float = 0.95) -> KernelDistance:
    """The squared maximum mean discrepancy of two sets of features, with the kernel (x y / d + 1)³ of KID.

    All pairs of different images count, where others average random subsets of 1,000: that has the same expectation. In
    a resample of the bootstrap an image may stand several times, and pairs of an image with itself do not count either.

    Args:
        x: features [n, d] of n images, at least two.
        y: features [m, d].
        resamples: of the bootstrap; 0: no interval, both ends are the distance.
        seed: of the bootstrap.
        level: share of the resamples within the interval.

    Returns:
        The distance and the interval.

    Raises:
        ValueError: the features are no such matrices, or not finite.
    """
    one, other = checked_features(x, "x"), checked_features(y, "y")
    if one.shape[1] != other.shape[1]:
        raise ValueError(f"x has {one.shape[1]} features an image, y {other.shape[1]}: they come from two networks")
    generator = np.random.default_rng(seed)
    of_one, of_other = (_counts(len(rows), resamples, generator) for rows in (one, other))
    crossed = _sums(one, other, of_one, of_other) / (len(one) * len(other))
    found = _within(one, of_one) + _within(other, of_other) - 2 * crossed
    drawn = found[1:][np.isfinite(found[1:])]  # of two images, a resample may hold but one
    if not len(drawn):
        return KernelDistance(*[float(found[0])] * 3)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return KernelDistance(float(found[0]), float(low), float(high))


def _counts(images: int, resamples: int, generator: np.random.Generator) -> Array:
    """How often each image stands in all images, in the first row, and in each resample."""
    drawn = generator.multinomial(images, np.full(images, 1 / images), size=resamples)
    return np.concatenate([np.ones((1, images)), drawn])


def _kernel(x: Array, y: Array) -> Array:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _sums(x: Array, y: Array, of_x: Array, of_y: Array) -> Array:
    """Of each resample, the sum of the kernel of all pairs."""
    total = np.zeros(len(of_x))
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        total += ((of_x[:, rows] @ _kernel(x[rows], y)) * of_y).sum(1)
    return total


def _within(x: Array, counts: Array) -> Array:
    """Of each resample, the mean of the kernel over pairs of different images."""
    squares = counts**2
    own = squares @ (((x * x).sum(1) / x.shape[1] + 1) ** 3)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (_sums(x, x, counts, counts) - own) / (counts.sum(1) ** 2 - squares.sum(1))

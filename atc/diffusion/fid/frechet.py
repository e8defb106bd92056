"""The Fréchet distance between two sets of features, each taken for a normal distribution."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Moments(NamedTuple):
    """What the Fréchet distance asks of a set of features of d numbers.

    Attributes:
        mean: float64 [d].
        covariance: float64 [d, d], divided by the number of features less one.
    """

    mean: Array
    covariance: Array


def frechet_distance(x: Any, y: Any) -> float:
    """|m - n|² + tr S + tr T - 2 tr (S T)^½ of the means m, n and the covariances S, T of two sets of features.

    The trace of the root is the sum of the roots of the eigenvalues of S^½ T S^½, in float64; those that rounding made
    negative count as 0. So a covariance may be singular, as that of fewer images than features is.

    Args:
        x: features [n, d] of n images, at least two.
        y: features [m, d].

    Returns:
        The distance, 0 for equal moments.

    Raises:
        ValueError: the features are no such matrices, or not finite.

    Examples:
        >>> round(frechet_distance([[0.0, 0.0], [2.0, 0.0]], [[3.0, 0.0], [5.0, 0.0]]), 12)
        9.0
    """
    one, other = checked_features(x, "x"), checked_features(y, "y")
    if one.shape[1] != other.shape[1]:
        raise ValueError(f"x has {one.shape[1]} features an image, y {other.shape[1]}: they come from two networks")
    return distance_of_moments(moments(one), moments(other))


def checked_features(given: Any, name: str) -> Array:
    """Features as a float64 matrix, an image a row. ValueError, with the name, for what is none."""
    found = np.asarray(given, dtype=np.float64)
    if found.ndim != 2 or len(found) < 2 or found.shape[1] < 1:
        raise ValueError(f"{name} has the shape {list(found.shape)}: it must be [images, features] of 2 images or more")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} has features that are not finite: the network, or its weights, are broken")
    return found


def moments(x: Array) -> Moments:
    """Mean and covariance of features [n, d]."""
    return Moments(x.mean(0), np.atleast_2d(np.cov(x, rowvar=False)))


def root(covariance: Array) -> Array:
    """The symmetric root of a covariance; eigenvalues that rounding made negative count as 0."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def distance_of_moments(one: Moments, other: Moments, root_of_one: Array | None = None) -> float:
    """The distance of two normal distributions, see `frechet_distance`.

    Args:
        one: a distribution.
        other: another.
        root_of_one: the `root` of the first one's covariance, where it is known.

    Returns:
        The distance.
    """
    half = root(one.covariance) if root_of_one is None else root_of_one
    shared = np.sqrt(np.linalg.eigvalsh(half @ other.covariance @ half).clip(0)).sum()
    difference = one.mean - other.mean
    traces = np.trace(one.covariance) + np.trace(other.covariance)
    return float(difference @ difference + traces - 2 * shared)

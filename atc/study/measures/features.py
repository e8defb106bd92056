"""How alike two models represent the same images."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]


def cls_features(a: ArrayLike, b: ArrayLike, as_released: bool = False) -> dict[str, float]:
    """Compare two sets of features of the same images; always computed in float64.

    Each channel's mean is subtracted and the whole matrix divided by its Frobenius norm; so all five measures ignore
    shifts, a common scale and rotations. More samples than channels of both together are needed to mean something:
    with fewer, canonical correlations are 1 whatever the features are.

    Args:
        a: ``[channels, samples]``.
        b: ``[other channels, samples]``.
        as_released: normalise PWCCA by the weights of all channels of `a`, as the authors' code does, instead of those
            of the min(channels) canonical directions that have a correlation. They differ where `a` is wider, and then
            the released value depends on the basis that LAPACK happens to choose.

    Returns:
        The similarities ``mean_cca_corr`` and ``mean_sq_cca_corr``, and the distances ``pwcca`` (from a to b: exchange
        the arguments for the other), ``cka`` and ``procrustes``. NaN where a set of features is constant.

    Raises:
        ValueError: not 2-D, other numbers of samples, or not finite.
    """
    first, second = _normalised("a", a), _normalised("b", b)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"a and b must have the same samples, got {first.shape[1]} and {second.shape[1]} columns")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):  # constant: there is nothing to compare
        return dict.fromkeys(("mean_cca_corr", "mean_sq_cca_corr", "pwcca", "cka", "procrustes"), float("nan"))
    cross = first @ second.T
    own, other = first @ first.T, second @ second.T
    whitened = _inverse_root(own)
    # All of U for the released normaliser, which has a weight for every channel of a
    left, rho, _ = np.linalg.svd(whitened @ cross @ _inverse_root(other), full_matrices=True)
    weights = np.abs(left.T @ whitened @ first @ first.T).sum(axis=1)
    used = weights[: len(rho)]
    total = weights.sum() if as_released else used.sum()
    norms = np.linalg.norm(own) * np.linalg.norm(other)
    squares = np.sum(first**2) + np.sum(second**2)
    return {
        "mean_cca_corr": float(rho.mean()),
        "mean_sq_cca_corr": float((rho**2).mean()),
        "pwcca": float(1 - used @ rho / total),
        "cka": float(1 - np.sum(cross**2) / norms),
        "procrustes": float(squares - 2 * np.linalg.norm(cross, "nuc")),
    }


def _normalised(name: str, features: ArrayLike) -> Matrix:
    given: NDArray[Any] = np.asarray(features)
    if given.ndim != 2 or not given.size:
        raise ValueError(f"{name} must be features [channels, samples], got shape {list(given.shape)}")
    matrix = given.astype(np.float64)
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} has features that are not finite")
    matrix = matrix - matrix.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return matrix / np.linalg.norm(matrix)


def _inverse_root(gram: Matrix) -> Matrix:
    """S^(-1/2) of a symmetric matrix; eigenvalues of 0 and below give 0."""
    values, vectors = np.linalg.eigh(gram)
    roots = np.zeros_like(values)
    np.sqrt(values, out=roots, where=values > 0)
    np.reciprocal(roots, out=roots, where=values > 0)
    return (vectors * roots) @ vectors.T

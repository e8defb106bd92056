"""Whether similarity goes with a difference in accuracy: rank correlations, and how sure they are."""

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau, rankdata, spearmanr

Rows = NDArray[np.float64]
NONE = float("nan")


def correlation(difference: ArrayLike, column: ArrayLike) -> tuple[float, float, float, float, int]:
    """Spearman's rho and Kendall's tau-b of a difference in accuracy against a column of similarities.

    Args:
        difference: 1-D, one per pair of models.
        column: the similarity or distance of each pair; NaN where there is none.

    Returns:
        rho, its two-sided p, tau, its two-sided p, and n, the pairs that have both numbers. NaN for fewer than two
        pairs, or where one of both is constant.

    Raises:
        ValueError: not 1-D, or of different lengths.
    """
    x, y = _present(difference, column)
    if _degenerate(x, y):
        return NONE, NONE, NONE, NONE, len(x)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # that two pairs have no p
        rho, rho_p = spearmanr(x, y)
        tau, tau_p = kendalltau(x, y)
    return float(rho), float(rho_p), float(tau), float(tau_p), len(x)


def permutation_p(difference: ArrayLike, column: ArrayLike, draws: int = 20_000, seed: int = 0) -> float:
    """How often a random pairing has a rho at least as far from 0; for few pairs p of `correlation` is only roughly so.

    Args:
        difference: as in `correlation`.
        column: likewise.
        draws: of random pairings, where there are more than 7 pairs; of fewer, all pairings are gone through.
        seed: of the draws.

    Returns:
        A two-sided p, exact for up to 7 pairs; NaN where there is no rho.

    Raises:
        ValueError: as in `correlation`.
    """
    x, y = _present(difference, column)
    if _degenerate(x, y):
        return NONE
    if len(x) <= 7:
        orders = np.array(list(itertools.permutations(range(len(x)))))
    else:
        orders = np.random.default_rng(seed).permuted(np.tile(np.arange(len(x)), (draws, 1)), axis=1)
    one, other = rankdata(x) - (len(x) + 1) / 2, rankdata(y) - (len(y) + 1) / 2
    reached = np.abs(other[orders] @ one) >= abs(one @ other) - 1e-9
    return float(reached.mean() if len(x) <= 7 else (reached.sum() + 1) / (len(reached) + 1))


def bootstrap(
    difference: ArrayLike,
    column: ArrayLike,
    groups: Sequence[object] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Percentile intervals of both rank correlations.

    Args:
        difference: as in `correlation`.
        column: likewise.
        groups: what each pair belongs to, such as the method of its model B: groups are drawn whole. None: each pair
            alone.
        level: how much of the resamples lies in an interval.
        resamples: how many are drawn; one in which a column is constant is left out.
        seed: of the draws.

    Returns:
        Lower and upper bound of rho, and of tau; NaN where no resample has a correlation.

    Raises:
        ValueError: as in `correlation`, or other numbers of groups.
    """
    names = list(range(np.size(column))) if groups is None else list(groups)
    if len(names) != np.size(column):
        raise ValueError(f"groups must name the group of each of {np.size(column)} pairs, got {len(names)}")
    x, y, present = *_present(difference, column), _both(difference, column)
    members: dict[object, list[int]] = {}
    for row, name in enumerate(name for name, there in zip(names, present, strict=True) if there):
        members.setdefault(name, []).append(row)
    rows_of = [np.array(rows) for rows in members.values()]
    draw = np.random.default_rng(seed)
    if len(rows_of) < 2:
        return (NONE, NONE), (NONE, NONE)
    chosen = draw.integers(len(rows_of), size=(resamples, len(rows_of)))
    if len({len(rows) for rows in rows_of}) == 1:  # of one length: all at once
        rows = np.stack(rows_of)[chosen].reshape(resamples, -1)
        found = _of_each(x[rows], y[rows])
    else:
        drawn = [np.concatenate([rows_of[group] for group in groups_of]) for groups_of in chosen]
        found = np.concatenate([_of_each(x[rows][None], y[rows][None]) for rows in drawn])
    found = found[~np.isnan(found).any(axis=1)]
    if not len(found):
        return (NONE, NONE), (NONE, NONE)
    tail = (1 - level) / 2 * 100
    bounds = np.percentile(found, [tail, 100 - tail], axis=0)
    return (float(bounds[0, 0]), float(bounds[1, 0])), (float(bounds[0, 1]), float(bounds[1, 1]))


def _both(difference: ArrayLike, column: ArrayLike) -> NDArray[np.bool_]:
    """Which rows have both numbers."""
    x, y = np.asarray(difference, dtype=np.float64), np.asarray(column, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"difference and column must be 1-D and equally long, got shapes {list(x.shape)} and {list(y.shape)}"
        )
    return ~(np.isnan(x) | np.isnan(y))


def _present(difference: ArrayLike, column: ArrayLike) -> tuple[Rows, Rows]:
    rows = _both(difference, column)
    return np.asarray(difference, dtype=np.float64)[rows], np.asarray(column, dtype=np.float64)[rows]


def _of_each(x: Rows, y: Rows) -> Rows:
    """[samples, n] twice -> [samples, 2], rho and tau of each; NaN where one is constant."""
    found = []
    for one, other in ((rankdata(x, axis=1), rankdata(y, axis=1)), (_signs(x), _signs(y))):
        one, other = (values - values.mean(axis=1, keepdims=True) for values in (one, other))
        norms = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
        products = (one * other).sum(axis=1)
        found.append(np.divide(products, norms, out=np.full(len(x), NONE), where=norms > 1e-9))
    return np.stack(found, axis=1)


def _signs(values: Rows) -> Rows:
    """[samples, n] -> [samples, n * n], how each two compare; they sum to 0."""
    return np.sign(values[:, :, None] - values[:, None, :]).reshape(len(values), -1)


def _degenerate(x: Rows, y: Rows) -> bool:
    return len(x) < 2 or bool(np.ptp(x) == 0 or np.ptp(y) == 0)

"""How alike two maps of the image are, such as mean depths of patches."""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import linprog
from scipy.spatial.distance import cdist
from scipy.special import rel_entr
from scipy.stats import ConstantInputWarning, NearConstantInputWarning, pearsonr, spearmanr

Map = NDArray[np.float64]


def heat_maps(a: ArrayLike, b: ArrayLike, as_released: bool = False) -> dict[str, float]:
    """Compare two maps over the same cells.

    With p and q the maps divided by their sums: Kullback-Leibler divergences of q from p and of p from q and the
    Jensen-Shannon divergence (bits, nothing is added to zeros), Pearson's and Spearman's correlation, the earth
    mover's distance between p and q (exact, in cells), and the sum of minima of the maps scaled to [0, 1] and divided
    by their sums.

    Args:
        a: ``[rows, columns]``, none negative.
        b: the same.
        as_released: the Jensen-Shannon divergence with the arguments of its terms exchanged, as the authors' code has
            it.

    Returns:
        ``kld12``, ``kld21``, ``jsd``, ``pcc``, ``scc``, ``emd`` and ``sim``. A constant map has neither correlations
        nor ``sim``: NaN.

    Raises:
        ValueError: of different shapes, not 2-D, with a negative or not finite value, or zero everywhere.
    """
    first, second = _checked("a", a), _checked("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must have the same cells, got {list(first.shape)} and {list(second.shape)}")
    p, q = first / first.sum(), second / second.sum()
    mean = (p + q) / 2
    if as_released:
        jsd = (_bits(mean, p) + _bits(mean, q)) / 2
    else:
        jsd = (_bits(p, mean) + _bits(q, mean)) / 2
    varies = bool(np.ptp(first) > 0 and np.ptp(second) > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        warnings.simplefilter("ignore", NearConstantInputWarning)
        pcc = float(pearsonr(first.ravel(), second.ravel())[0]) if varies else float("nan")
        scc = float(spearmanr(first.ravel(), second.ravel())[0]) if varies else float("nan")
    return {
        "kld12": _bits(q, p),
        "kld21": _bits(p, q),
        "jsd": jsd,
        "pcc": pcc,
        "scc": scc,
        "emd": earth_movers_distance(p, q),
        "sim": float(np.minimum(_scaled(first), _scaled(second)).sum()) if varies else float("nan"),
    }


def earth_movers_distance(p: Map, q: Map) -> float:
    """The least mean distance, in cells, over which p must be moved to become q.

    Args:
        p: ``[rows, columns]`` of sum 1.
        q: the same.

    Returns:
        The exact optimum. What both have in a cell stays there: distances obey the triangle inequality.
    """
    difference = (p - q).ravel()
    cells = np.stack(np.unravel_index(np.arange(difference.size), p.shape), axis=1)
    sources, sinks = difference > 0, difference < 0
    if not sources.any() or not sinks.any():
        return 0.0
    supply, demand = difference[sources], -difference[sinks]
    # Both sums are the same but for rounding, which would leave the programme without a solution
    mass = supply.sum()
    supply, demand = supply / mass, demand / demand.sum()
    cost = cdist(cells[sources], cells[sinks])
    leaves = sparse.kron(sparse.eye(len(supply)), np.ones((1, len(demand))))
    arrives = sparse.kron(np.ones((1, len(supply))), sparse.eye(len(demand)))
    constraints = sparse.vstack([leaves, arrives]).tocsr()[:-1]  # the last follows from the others
    amounts = np.concatenate([supply, demand])[:-1]
    solved = linprog(cost.ravel(), A_eq=constraints, b_eq=amounts, method="highs")
    if not solved.success:
        raise ArithmeticError(f"the earth mover's distance was not found: {solved.message}")
    return float(solved.fun * mass)


def _checked(name: str, values: ArrayLike) -> Map:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 2 or not found.size:
        raise ValueError(f"{name} must be a map [rows, columns], got shape {list(found.shape)}")
    if not np.isfinite(found).all() or (found < 0).any() or not found.any():
        raise ValueError(f"{name} must be finite, nowhere negative, and not zero everywhere")
    return found


def _bits(p: Map, q: Map) -> float:
    """Kullback-Leibler divergence KL(p || q); infinite where q is 0 and p is not."""
    return float(rel_entr(p, q).sum() / np.log(2))


def _scaled(values: Map) -> Map:
    scaled = (values - values.min()) / np.ptp(values)
    return scaled / scaled.sum()

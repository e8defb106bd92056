"""Whether two runs differ, from what they said of the same images: paired tests and bootstrap intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

RESAMPLES, SEED = 10_000, 0
LEVEL = 0.95  # of intervals
ALPHA = 0.05  # of tests
MOST = 4_000_000  # counts of images in memory at a time

Array = NDArray[Any]


@dataclass(frozen=True)
class Paired:
    """One run compared with another.

    Attributes:
        difference: the metric of the one less that of the other, in 0..1.
        low: the lower end of the bootstrap interval of the difference.
        high: its upper end.
        p: of the test that there is no difference, two-sided.
        gained: how many images only the one has right; None where no image is right or wrong.
        lost: how many only the other has right; likewise.
    """

    difference: float
    low: float
    high: float
    p: float
    gained: int | None = None
    lost: int | None = None


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's test: exact, two-sided, at any number of images.

    Args:
        gained: how many images only the one run has right.
        lost: how many only the other.

    Returns:
        The probability, if the two were equally good, of a split of these images at least as uneven: twice the smaller
        tail of the binomial distribution, at most 1.

    Examples:
        >>> mcnemar(5, 0), mcnemar(3, 3)
        (0.0625, 1.0)
    """
    if gained + lost == 0:
        return 1.0
    return min(1.0, 2 * float(binom.cdf(min(gained, lost), gained + lost, 0.5)))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's correction for several tests.

    Args:
        values: p of each test.

    Returns:
        Corrected ones, in the same order.

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = largest
    return corrected


def of_correct(one: Array, other: Array, resamples: int = RESAMPLES, seed: int = SEED) -> Paired:
    """Two runs by the images that they have right.

    A resample of images has so many gained and lost ones as a multinomial draw says, so that no image is drawn.

    Args:
        one: bool ``[n]``.
        other: bool ``[n]``, of the same images.
        resamples: of the bootstrap.
        seed: likewise.

    Returns:
        The comparison, with McNemar's exact test.
    """
    gained, lost, n = int((one & ~other).sum()), int((other & ~one).sum()), len(one)
    drawn = np.random.default_rng(seed).multinomial(n, [gained / n, lost / n, (n - gained - lost) / n], resamples)
    low, high = _interval((drawn[:, 0] - drawn[:, 1]) / n)
    return Paired((gained - lost) / n, low, high, mcnemar(gained, lost), gained, lost)


def of_scores(one: Array, other: Array, targets: Array, resamples: int = RESAMPLES, seed: int = SEED) -> Paired:
    """Two runs by the mean average precision of their scores.

    Args:
        one: float ``[n, K]``.
        other: float ``[n, K]``, of the same images.
        targets: ``[n, K]`` in {0, 1}.
        resamples: of the bootstrap, each of which computes the metric anew on images drawn with replacement.
        seed: likewise.

    Returns:
        The comparison; p is twice the share of the resamples in which the better one is not better.
    """
    n = len(targets)
    differences = []
    for counts in _resampled(n, resamples, seed):
        found = [mean_average_precision(scores, targets, counts) for scores in (one, other)]
        differences.append(found[0] - found[1])
    drawn, once = np.concatenate(differences), np.ones((1, n), dtype=np.int32)
    difference = mean_average_precision(one, targets, once) - mean_average_precision(other, targets, once)
    tail = 1 + min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Paired(float(difference[0]), *_interval(drawn), min(1.0, 2 * tail / (resamples + 1)))


def mean_average_precision(scores: Array, targets: Array, counts: Array) -> Array:
    """Macro mAP, as `atc.tasks.average_precision` defines it, of several resamples of the images.

    Args:
        scores: float ``[n, K]``.
        targets: ``[n, K]`` in {0, 1}.
        counts: int ``[R, n]``, how often each image is in each resample.

    Returns:
        float64 ``[R]`` in 0..1.
    """
    most = int(counts.sum(axis=1).max())
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, most + 1))])
    total = np.zeros(len(counts))
    for label in range(scores.shape[1]):
        order = np.lexsort((targets[:, label], -scores[:, label]))  # positives last among equal scores
        hit = np.flatnonzero(targets[order, label])
        if not len(hit):
            continue
        times = counts[:, order]
        ranks = times.cumsum(axis=1)[:, hit]
        here = times[:, hit]
        misses = ranks - here.cumsum(axis=1)  # before each positive
        # Over the copies of a positive: of (hits so far) / rank, which is 1 - misses / rank
        precision = here - misses * (harmonic[ranks] - harmonic[ranks - here])
        total += precision.sum(axis=1) / (here.sum(axis=1) + 1e-8)
    return total / scores.shape[1]


def _resampled(n: int, resamples: int, seed: int) -> Iterator[Array]:
    """How often each of n images is in each resample, some resamples at a time: int32 ``[R, n]``."""
    generator, size = np.random.default_rng(seed), max(1, MOST // n)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = generator.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.int32)


def _interval(drawn: Array) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)

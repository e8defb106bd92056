"""Paired tests and bootstrap intervals, against SciPy, loops and numbers worked out by hand."""

import numpy as np
import pytest
import scipy.stats
import torch

from atc.report import paired
from atc.tasks.average_precision import mean_average_precision


def pair(gained: int, lost: int, both: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Two runs with this contingency table."""
    one = [True] * gained + [False] * lost + [True] * both + [False] * neither
    other = [False] * gained + [True] * lost + [True] * both + [False] * neither
    return np.array(one), np.array(other)


def test_mcnemar_is_the_binomial_test() -> None:
    for gained in (0, 1, 4, 9, 400):
        for lost in (0, 1, 4, 12, 431):
            wanted = scipy.stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
            assert paired.mcnemar(gained, lost) == pytest.approx(wanted, rel=1e-9)
    assert paired.mcnemar(1, 8) == pytest.approx(2 * (1 + 9) / 2**9)  # by hand: 0 or 1 of 9


def test_a_contingency_table() -> None:
    found = paired.of_correct(*pair(gained=30, lost=10, both=140, neither=20))
    assert found.difference == pytest.approx(0.1)
    assert (found.gained, found.lost) == (30, 10)
    assert found.p == pytest.approx(scipy.stats.binomtest(10, 40).pvalue)
    # The variance of a mean of differences in {-1, 0, 1}: (40 / 200 - 0.1^2) / 200
    half = 1.96 * ((0.2 - 0.01) / 200) ** 0.5
    assert found.low == pytest.approx(0.1 - half, abs=0.006)
    assert found.high == pytest.approx(0.1 + half, abs=0.006)
    same = paired.of_correct(*pair(0, 0, 5, 5))
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_the_interval_is_that_of_images_drawn_one_by_one() -> None:
    one, other = pair(gained=23, lost=11, both=100, neither=16)
    found, generator = paired.of_correct(one, other), np.random.default_rng(5)
    each = one.astype(float) - other
    drawn = each[generator.integers(len(each), size=(10_000, len(each)))].mean(axis=1)
    wanted = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose([found.low, found.high], wanted, atol=1.01 / len(each))  # a step is one image


def test_holm_by_hand() -> None:
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm([0.5, 0.9]) == [1.0, 1.0]
    assert paired.holm([0.2]) == [0.2]


def test_average_precision_of_a_resample_is_that_of_its_images() -> None:
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 12, size=(40, 5)).astype(np.float32)  # ties
    targets = (generator.random((40, 5)) < 0.3).astype(np.uint8)
    targets[:, 4] = 0
    drawn = generator.integers(40, size=(6, 40))
    counts = np.array([np.bincount(row, minlength=40) for row in drawn], dtype=np.int32)
    found = paired.mean_average_precision(scores, targets, counts)
    wanted = [
        float(mean_average_precision(torch.tensor(scores[row]), torch.tensor(targets[row].astype(np.int64))))
        for row in drawn
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_scores_that_tell_labels_apart_better() -> None:
    generator = np.random.default_rng(1)
    targets = (generator.random((120, 3)) < 0.4).astype(np.uint8)
    good, bad = (targets + scale * generator.standard_normal((120, 3)) for scale in (0.3, 2.0))
    found = paired.of_scores(good, bad, targets, resamples=400)
    assert 0 < found.low < found.difference < found.high
    assert found.p == pytest.approx(2 / 401)
    back = paired.of_scores(bad, good, targets, resamples=400)
    assert back.difference == -found.difference
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    assert paired.of_scores(good, good, targets, resamples=50).p == 1.0

"""The measures against the authors' numbers, worked examples, other libraries and plain loops."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linprog
from sklearn import metrics

import atc
from atc.study import measures
from tests.tracked import ROOT

GOLDEN = np.load(ROOT / "tests" / "golden" / "study.npz")
CASES = sorted({key.split("|")[1] for key in GOLDEN.files if key.startswith("features|")})
A = [[1, 2, 3, 4, 6], [2, 1, 4, 3, 5]]
B = [[1, 0, 2, 1, 3], [0, 1, 1, 2, 2], [3, 1, 0, 2, 1]]


def rng(seed=0):
    return np.random.default_rng(seed)


def test_sets_of_patches():
    a, b = [5, 0, 1, 2, 3, 4, 4, -1], [-1, -1, 6, 5, 4]
    assert measures.iou(a, b) == pytest.approx(2 / 7)
    assert measures.ioa(a, b) == pytest.approx(2 / 3)
    assert measures.ioa(b, a) == pytest.approx(2 / 6)
    assert measures.iou([1], [2]) == measures.ioa([1], [2]) == measures.iou([], [-1]) == measures.ioa([1], []) == 0
    assert measures.iou(a, a) == measures.ioa(a, a) == 1


@pytest.mark.parametrize("bad", [[[1, 2]], [0.5], 3, [True, False]])
def test_sets_that_are_none(bad):
    with pytest.raises(ValueError, match="kept_b must be"):
        measures.iou([1, 2], bad)


def test_clusterings_are_those_of_the_authors():
    for true, predicted, known in zip(
        GOLDEN["clusters|true"],
        GOLDEN["clusters|pred"],
        GOLDEN["clusters|homogeneity_completeness_v"],
        strict=True,
    ):
        np.testing.assert_allclose(measures.clusterings(true, predicted), known, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("true", "known"),
    [
        ([0, 0, 0, 0, 1, 1, 1, 1], (1, 0.5, 0.666667)),
        ([0, 0, 0, 1, 1, 1, 1, 1], (0.738065, 0.352217, 0.476866)),
        ([0] * 8, (1, 0, 0)),
    ],
)
def test_clusterings_of_the_worked_examples(true, known):
    assert measures.clusterings(true, [0, 0, 1, 1, 2, 2, 3, 3]) == pytest.approx(known, abs=1e-6)
    assert measures.clusterings(true, true) == pytest.approx((1, 1, 1))


def test_clusterings_by_loops():
    draw = rng(3)
    for _ in range(5):
        true, predicted = draw.integers(7, size=60), draw.integers(12, size=60)
        entropy_true = entropy_predicted = information = 0.0
        for t in set(true):
            share = np.mean(true == t)
            entropy_true -= share * np.log(share)
        for p in set(predicted):
            share = np.mean(predicted == p)
            entropy_predicted -= share * np.log(share)
            for t in set(true):
                both = np.mean((true == t) & (predicted == p))
                if both:
                    information += both * np.log(both / np.mean(true == t) / share)
        h, c = information / entropy_true, information / entropy_predicted
        assert measures.clusterings(true, predicted) == pytest.approx((h, c, 2 * h * c / (h + c)), abs=1e-12)
        assert measures.clusterings(true, predicted)[2] == pytest.approx(
            metrics.normalized_mutual_info_score(true, predicted), abs=1e-12
        )


def test_stages_compose_and_what_was_dropped_stays_dropped():
    assert measures.compose([[0, 1, -1, 2, 1], [1, 0, -1]]).tolist() == [1, 0, -1, -1, 0]


@pytest.mark.parametrize("case", CASES)
def test_features_are_those_of_the_authors(case):
    a, b = (GOLDEN[f"features|{case}|{name}"] for name in "AB")
    found = measures.cls_features(a, b, as_released=True)
    names = {"pwcca": "PWCCA", "cka": "CKA", "procrustes": "Procrustes"}
    # The basis of a's directions without a correlation is the library's choice, and PWCCA as released depends on it
    loose = case == "wider_A_by_4"
    for name, value in found.items():
        known = GOLDEN[f"features|{case}|{names.get(name, name)}"]
        assert value == pytest.approx(known, abs=0.05 if loose and name == "pwcca" else 1e-12), name
    ours = measures.cls_features(a, b)
    assert {name for name in ours if ours[name] != found[name]} <= {"pwcca"}
    assert (ours["pwcca"] != pytest.approx(found["pwcca"])) == (len(a) > len(b))


def test_features_of_the_worked_example():
    found = measures.cls_features(A, B)
    assert found == pytest.approx(
        {
            "mean_cca_corr": 0.937798,
            "mean_sq_cca_corr": 0.883333,
            "pwcca": 0.029388,
            "cka": 0.223086,
            "procrustes": 0.434773,
        },
        abs=1e-6,
    )
    weights, rho = np.array([0.485175, 0.248823]), np.array([1, 0.875595])
    assert measures.cls_features(B, A, as_released=True)["pwcca"] == pytest.approx(0.296957, abs=1e-6)
    assert measures.cls_features(B, A)["pwcca"] == pytest.approx(1 - weights @ rho / weights.sum(), abs=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_features_ignore_rotation_scale_and_shift(dtype):
    a = rng().normal(size=(6, 50)).astype(dtype)
    rotation = stats.ortho_group.rvs(6, random_state=0)
    found = measures.cls_features(a, 2 * rotation @ a.astype(np.float64) + 1)
    assert found == pytest.approx(
        {"mean_cca_corr": 1, "mean_sq_cca_corr": 1, "pwcca": 0, "cka": 0, "procrustes": 0}, abs=1e-12
    )


def test_features_by_other_means():
    a, b = rng(1).normal(size=(4, 60)), rng(2).normal(size=(5, 60))
    b[:2] += a[:2]
    found = measures.cls_features(a, b)
    x, y = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    angles = np.linalg.svd(np.linalg.qr(x.T)[0].T @ np.linalg.qr(y.T)[0])[1]  # canonical correlations, as subspaces
    assert found["mean_cca_corr"] == pytest.approx(angles.mean(), abs=1e-12)
    kernel_x, kernel_y = x.T @ x, y.T @ y
    alignment = np.sum(kernel_x * kernel_y) / np.linalg.norm(kernel_x) / np.linalg.norm(kernel_y)
    assert found["cka"] == pytest.approx(1 - alignment, abs=1e-12)
    from scipy.spatial import procrustes

    same = np.vstack([x, np.zeros((1, 60))])
    _, _, disparity = procrustes(same.T, y.T)  # scipy scales as well: 1 - nuclear norm squared
    assert found["procrustes"] == pytest.approx(2 - 2 * np.sqrt(1 - disparity), abs=1e-12)


def test_features_that_cannot_be_compared():
    with pytest.raises(ValueError, match="the same samples, got 5 and 4"):
        measures.cls_features(A, np.array(B)[:, :4])
    with pytest.raises(ValueError, match=r"a must be features \[channels, samples\], got shape \[3\]"):
        measures.cls_features([1, 2, 3], B)
    with pytest.raises(ValueError, match="b has features that are not finite"):
        measures.cls_features(A, np.full((2, 5), np.nan))
    assert np.isnan(list(measures.cls_features(A, np.ones((2, 5))).values())).all()


def test_maps_are_those_of_the_authors():
    for a, b, known in zip(GOLDEN["heatmaps|map1"], GOLDEN["heatmaps|map2"], GOLDEN["heatmaps|values"], strict=True):
        found = measures.heat_maps(a, b, as_released=True)
        np.testing.assert_allclose(
            [found[str(name).lower()] for name in GOLDEN["heatmaps|columns"]], known, rtol=0, atol=1e-12
        )
        assert {n for n, v in measures.heat_maps(a, b).items() if v != found[n]} <= {"jsd"}


def test_maps_of_the_worked_example():
    a, b = [[3, 6], [9, 12]], [[3, 12], [9, 6]]
    known = {"kld12": 0.2, "kld21": 0.2, "jsd": 0.049023, "pcc": 0.2, "scc": 0.2, "emd": 0.2, "sim": 2 / 3}
    assert measures.heat_maps(a, b) == pytest.approx(known, abs=1e-6)
    assert measures.heat_maps(a, b, as_released=True) == pytest.approx(known | {"jsd": 0.050978}, abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 5), (6, 2), (1, 7)])
def test_maps_by_other_means(shape):
    a, b = rng(1).uniform(3, 12, size=shape), rng(2).integers(0, 4, size=shape).astype(float)
    b[0, 0] = 1
    found = measures.heat_maps(a, b)
    p, q = (a / a.sum()).ravel(), (b / b.sum()).ravel()
    assert found["kld12"] == pytest.approx(stats.entropy(q, p, base=2), abs=1e-12)
    from scipy.spatial.distance import jensenshannon

    assert found["jsd"] == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-12)
    cells = [(i, j) for i in range(shape[0]) for j in range(shape[1])]
    cost = np.array([[np.hypot(i - k, j - m) for k, m in cells] for i, j in cells])
    n = len(cells)
    moves = np.zeros((2 * n, n * n))
    for i in range(n):
        moves[i, i * n : (i + 1) * n] = 1
        moves[n + i, i::n] = 1
    whole = linprog(cost.ravel(), A_eq=moves[:-1], b_eq=np.concatenate([p, q])[:-1])
    assert found["emd"] == pytest.approx(whole.fun, abs=1e-10)
    assert np.isinf(found["kld21"])  # b has cells of 0
    assert found["pcc"] == pytest.approx(np.corrcoef(p, q)[0, 1], abs=1e-12)


def test_equal_and_constant_maps():
    a = rng().uniform(3, 12, size=(14, 14))
    same = measures.heat_maps(a, a)
    assert same == pytest.approx(
        dict.fromkeys(("kld12", "kld21", "jsd", "emd"), 0) | dict.fromkeys(("pcc", "scc", "sim"), 1)
    )
    flat = measures.heat_maps(a, np.full((14, 14), 12))
    assert {name for name, value in flat.items() if np.isnan(value)} == {"pcc", "scc", "sim"}


@pytest.mark.parametrize(
    "bad", [np.ones((2, 3)), [1.0, 2.0], [[1, -1], [1, 1]], [[0, 0], [0, 0]], [[np.nan, 1], [1, 1]]]
)
def test_maps_that_are_none(bad):
    with pytest.raises(ValueError, match="must"):
        measures.heat_maps([[1, 2], [3, 4]], bad)


def test_correlations_are_those_of_the_authors():
    for difference, column, known in zip(
        GOLDEN["correlation|difference"],
        GOLDEN["correlation|column"],
        GOLDEN["correlation|spearman_p_kendall_p_n"],
        strict=True,
    ):
        np.testing.assert_allclose(measures.correlation(difference, column), known, rtol=0, atol=1e-12)


def test_correlation_of_the_worked_example_and_of_too_little():
    difference, column = (0.4, -0.2, 1.1, 0.9, 2.3, 1.1), (0.9, 0.95, 0.7, 0.8, 0.3, 0.75)
    assert measures.correlation(difference, column) == pytest.approx(
        (-0.985611, 3.1e-4, -0.966092, 7.41e-3, 6), abs=1e-5
    )
    assert measures.correlation([*difference, np.nan], [*column, 1])[4] == 6
    for x, y in (([1], [2]), ([], []), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [4, 4, np.nan])):
        *numbers, n = measures.correlation(x, y)
        assert np.isnan(numbers).all()
        assert n == np.sum(~np.isnan(y)) if len(y) else n == 0


def test_bootstrap_draws_groups_whole():
    x = rng().normal(size=40)
    y = x + rng(1).normal(size=40)
    (low, high), (tau_low, tau_high) = measures.bootstrap(x, y, resamples=300)
    rho, _, tau, _, _ = measures.correlation(x, y)
    assert -1 <= low < rho < high <= 1
    assert tau_low < tau < tau_high
    assert measures.bootstrap(x, y, resamples=300) == ((low, high), (tau_low, tau_high))
    wide = measures.bootstrap(np.repeat(x[:8], 5), np.repeat(y[:8], 5), np.repeat(np.arange(8), 5), resamples=300)[0]
    narrow = measures.bootstrap(np.repeat(x[:8], 5), np.repeat(y[:8], 5), resamples=300)[0]
    assert wide[1] - wide[0] > narrow[1] - narrow[0]
    assert np.isnan(measures.bootstrap([1, 2], [3, 3])[0]).all()
    with pytest.raises(ValueError, match="the group of each of 3 pairs, got 2"):
        measures.bootstrap([1, 2, 3], [1, 2, 3], ["a", "b"])


def test_permutations_are_counted():
    x, y = [1.0, 2, 3, 4], [1.0, 2, 3, 4]
    assert measures.permutation_p(x, y) == pytest.approx(2 / 24)  # and so no 4 pairs are significant
    assert np.isnan(measures.permutation_p([1.0, 2, 3], [5.0, 5, 5]))
    draw = rng(8)
    x, y = draw.integers(4, size=(2, 6)).astype(float)
    every = stats.permutation_test(
        (x,), lambda one: stats.spearmanr(one, y)[0], permutation_type="pairings", n_resamples=10_000
    )
    assert measures.permutation_p(x, y) == pytest.approx(every.pvalue)
    x, y = draw.normal(size=(2, 30))
    assert measures.permutation_p(x, y) == pytest.approx(measures.correlation(x, y)[1], abs=0.03)


@pytest.mark.parametrize(("a", "b", "patches"), [(98, 49, 196), (176, 158, 196), (3, 0, 10), (10, 10, 10)])
def test_chance_is_the_mean_over_random_sets(a, b, patches):
    draw = rng(5)
    sets = [(draw.permutation(patches)[:a], draw.permutation(patches)[:b]) for _ in range(400)]
    for expected, measure in (
        (measures.expected_iou(a, b, patches), measures.iou),
        (measures.expected_ioa(a, b, patches), measures.ioa),
    ):
        values = [measure(*pair) for pair in sets]
        assert np.mean(values) == pytest.approx(expected, abs=5 * np.std(values) / 20 + 1e-12)
    with pytest.raises(ValueError, match="cannot be drawn"):
        measures.expected_iou(patches + 1, b, patches)


def test_adjusted_information_is_nothing_by_chance():
    a, b = rng().integers(50, size=196), rng(1).integers(50, size=196)
    assert measures.clusterings(a, b)[2] > 0.6
    assert abs(measures.adjusted_mutual_information(a, b)) < 0.1
    assert measures.adjusted_mutual_information(a, a) == pytest.approx(1)


def test_torchmetrics_agrees():
    import torch
    from torchmetrics.clustering import AdjustedMutualInfoScore, HomogeneityScore
    from torchmetrics.functional.regression import kendall_rank_corrcoef, pearson_corrcoef, spearman_corrcoef

    a, b = rng().integers(9, size=80), rng(1).integers(5, size=80)
    homogeneity, _, _ = measures.clusterings(a, b)
    assert float(HomogeneityScore()(torch.tensor(b), torch.tensor(a))) == pytest.approx(homogeneity, abs=1e-5)
    adjusted = float(AdjustedMutualInfoScore()(torch.tensor(b), torch.tensor(a)))
    assert adjusted == pytest.approx(measures.adjusted_mutual_information(a, b), abs=1e-4)
    x, y = torch.tensor(rng(2).uniform(size=(3, 4))), torch.tensor(rng(3).uniform(size=(3, 4)))
    maps = measures.heat_maps(x.numpy(), y.numpy())
    assert float(pearson_corrcoef(x.ravel(), y.ravel())) == pytest.approx(maps["pcc"], abs=1e-9)
    assert float(spearman_corrcoef(x.ravel(), y.ravel())) == pytest.approx(maps["scc"], abs=1e-5)
    tau = measures.correlation(x.ravel(), y.ravel())[2]
    assert float(kendall_rank_corrcoef(x.ravel(), y.ravel())) == pytest.approx(tau, abs=1e-5)


def test_they_come_with_atc_and_without_torch():
    assert atc.study.measures.iou is measures.iou
    code = "import sys, atc; print(atc.study.measures.iou([1, 2], [2]), 'torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert shown.split() == ["0.5", "False"]

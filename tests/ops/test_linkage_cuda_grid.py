"""The cuda backend in device memory, emulated on the CPU: equal to the oracle, and fast where tokens are equal."""

from __future__ import annotations

import pytest
import torch

from atc.cost.tokens import smooth
from atc.ops.linkage import METHODS, cosine_distance, dendrogram, labels
from atc.ops.linkage.cuda import memory
from tests.ops.emulation import GridEmulation, assert_equals
from tests.reference.distances import FINITE, KINDS, batch, few_values, generator, symmetric, thirds

pytestmark = pytest.mark.xdist_group("grid")  # one process compiles what all of them run


@pytest.fixture(scope="module")
def emulation(tmp_path_factory):
    """One thread an image: as good as any number of them, since results must not depend on it."""
    return GridEmulation(tmp_path_factory.mktemp("emulation") / "grid1.so")


def keeps(tokens):
    return sorted({1, 2, tokens // 4, tokens // 2, 7 * tokens // 10, tokens - 1, tokens, tokens + 3} - {0})


def assert_all_equal(emulation, distance, method, some_keeps, truth="reference"):
    """Merges and heights, and the labels of calls that want nothing else, which single linkage finds in another way."""
    tree = dendrogram(distance, 1, method, backend=truth)
    for keep in some_keeps:
        case = f"{list(distance.shape)}, {distance.dtype}, keep={keep}, {method}"
        assert_equals(emulation.cluster(distance, keep, method), tree, keep, case)
        if method == "single":
            found = emulation.cluster(distance, keep, method, want_merges=False)
            assert torch.equal(found.labels, tree.labels(keep)), case


def extremes(tokens, seed, dtype):
    """Zeros of either sign, subnormal and huge numbers, infinities and NaN, each often."""
    kind = torch.finfo(dtype)
    least = kind.smallest_normal * kind.eps
    few = [
        0.0,
        -0.0,
        least,
        -least,
        3 * least,
        kind.max,
        -kind.max,
        kind.max / 2,
        torch.inf,
        -torch.inf,
        torch.nan,
        1.0,
        0.3,
    ]
    values = torch.tensor(few, dtype=dtype)
    return symmetric(values[torch.randint(len(few), (tokens, tokens), generator=generator(seed))])


@pytest.mark.parametrize("method", METHODS)
def test_groups_of_blocks_equal_the_oracle(emulation, method):
    for tokens in (1, 2, 3, 7, 17, 50):
        given = batch(tokens)
        for distance in (given, thirds(given)):
            assert_all_equal(emulation, distance, method, keeps(tokens))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_extremes_and_ties(emulation, method, dtype):
    for tokens in (2, 3, 5, 9, 17):
        distance = torch.stack([extremes(tokens, seed, dtype) for seed in range(20)])
        ties = [
            symmetric(torch.randint(levels, (tokens, tokens), generator=generator(levels)).to(dtype) / 8)
            for levels in (1, 2, 3, 6)
        ]
        for case in (distance, torch.stack(ties)):
            assert_all_equal(emulation, case, method, keeps(tokens))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", METHODS)
def test_fuzz(emulation, method, seed):
    for tokens in (1, 2, 3, 17, 50, 196, 300):
        small = tokens < 100
        given = batch(tokens, seed=100 * seed + tokens)
        for distance in (given, given.double(), thirds(given)):
            assert_all_equal(emulation, distance, method, keeps(tokens), "reference" if small else None)
        for dtype in (torch.float32, torch.float64):
            distance = torch.stack([extremes(tokens, 1000 * seed + one, dtype) for one in range(200 if small else 5)])
            assert_all_equal(emulation, distance, method, keeps(tokens), "torch" if small else None)


@pytest.mark.slow
@pytest.mark.parametrize(("lanes", "blocks", "threads"), [(32, 2, 64), (2, 3, 8)])
def test_several_blocks_of_several_warps(tmp_path, lanes, blocks, threads):
    """Warps of a GPU's width; and so many warps that a block of them reads a row where few are to be read."""
    several = GridEmulation(tmp_path / "several.so", lanes, blocks, threads)
    for tokens, kinds in ((7, list(KINDS)), (70, ["regions", "few_values", "duplicates"])):
        for method in METHODS:
            assert_all_equal(several, batch(tokens, kinds), method, [tokens // 3])


def test_any_memory_layout_nothing_but_the_upper_triangle_and_images_in_turns(emulation):
    given = batch(20, FINITE)
    distance = given.triu(1) + torch.full_like(given, torch.nan).tril()
    wider = torch.rand(len(given), 23, 31)
    wider[:, 1:21, 4:24] = distance
    layouts = [
        wider[:, 1:21, 4:24],
        distance.mT.contiguous().mT,
        distance.permute(1, 2, 0).contiguous().permute(2, 0, 1),
        distance.repeat_interleave(2, 0)[::2],
    ]
    for method in METHODS:
        expected = labels(given, 6, method, backend="reference")
        for view, groups in zip(layouts, (1, 3, 4, len(given)), strict=True):
            for want in (True, False):
                found = emulation.cluster(view, 6, method, want_merges=want, groups=groups)
                assert torch.equal(found.labels, expected), (method, view.stride())
    assert emulation.cluster(distance[:0], 6, "average").labels.shape == (0, 20)
    assert emulation.cluster(distance[:, :0, :0], 6, "average").labels.shape == (len(given), 0)


def test_sums_that_are_not_exact_are_added_in_the_oracle_s_order(emulation):
    """Which images do so is counted, one after another: cosine distances must not, being multiples of 2^-24."""
    exact = cosine_distance(smooth(4, 98)).double()
    mixed = torch.stack([exact[0], exact[1] / 3, exact[2], exact[3] / 3])
    found = emulation.cluster(mixed, 30, "average")
    assert found.counters[:, 3].tolist() == [0, 1, 0, 1]
    assert_equals(found, dendrogram(mixed, 30, "average", backend="torch"), 30, "")
    distance = torch.randint(1, 4, (500, 10, 10), generator=generator(0)).double() * 0.7
    distance[::2, 8, 9] = torch.inf
    for method in ("average", "ward"):
        tree = dendrogram(distance, 1, method, backend="torch")
        assert_equals(emulation.cluster(distance, 1, method), tree, 1, method)


def equal_in_part(tokens):
    """Keys of which many are the same, by name; distances of equal tokens are those of the first of them."""
    keys = smooth(1, tokens)[0].clone()
    some = torch.randperm(tokens, generator=generator(0))
    half = some[: tokens // 2]
    one_value = torch.full((tokens, tokens), 0.5)
    same = torch.arange(tokens)
    same[half] = half[0]
    copied = cosine_distance(keys[None])[0][same][:, same]
    copied[half[:, None], half] = 0
    zero = keys.clone()
    zero[half] = 0
    third = keys[some[torch.randint(3, (tokens,), generator=generator(1))]]
    hot = torch.eye(tokens // 4)[torch.randint(tokens // 4, (tokens,), generator=generator(2))]
    infinite = cosine_distance(keys[None])[0]
    infinite[half[:, None], half] = torch.inf
    yield "all equal", one_value
    yield "all NaN", one_value * torch.nan
    yield "half equal", copied
    yield "half zero keys", cosine_distance(zero[None])[0]
    yield "three different", cosine_distance(third[None])[0]
    yield "each key several times, all others as near", cosine_distance(hot[None])[0]
    yield "half infinitely far from each other", infinite
    yield "few values", few_values(tokens, 0)


@pytest.mark.parametrize("method", METHODS)
def test_equal_tokens_cost_at_most_ten_times_distinct_ones(emulation, method):
    """Measured at most 1.3 times the rounds, 5 with few values, 9.4 with half zero keys; 2.3 times the cells."""
    tokens = 256
    for keep in (tokens // 4, tokens // 2):
        distinct = cosine_distance(smooth(1, tokens))
        rounds, _, cells, _ = emulation.cluster(distinct, keep, method, want_merges=False).counters[0].tolist()
        for name, distance in equal_in_part(tokens):
            found = emulation.cluster(distance[None], keep, method, want_merges=False)
            assert torch.equal(found.labels, labels(distance[None], keep, method)), (name, method)
            assert found.counters[0, 0] <= 10 * rounds, (name, method, keep, found.counters, rounds)
            assert found.counters[0, 2] <= 10 * cells, (name, method, keep, found.counters, cells)


def test_of_equal_distances_all_are_merged_in_one_round(emulation):
    for distance in (batch(49, ["all_equal"]), torch.full((1, 49, 49), torch.inf)):
        for method in ("single", "complete", "average"):
            counters = emulation.cluster(distance, 30, method).counters
            assert counters[0, :2].tolist() == [1, 48], method


@pytest.mark.parametrize("method", ["single", "complete", "average"])
def test_rounds_and_cells_of_many_tokens(emulation, method):
    """Measured 6 passes with single linkage, 10 and 15 rounds with the others; 5.3, 2.8 and 2.9 times N^2 cells."""
    distance = cosine_distance(smooth(1, 1100))
    found = emulation.cluster(distance, 550, method, want_merges=False)
    assert torch.equal(found.labels, labels(distance, 550, method))
    assert found.counters[0, 0] <= 18
    assert found.counters[0, 2] <= 6.5 * 1100**2


def test_device_memory_is_what_an_image_uses(emulation):
    """AddressSanitizer holds the algorithms to the emulation's formula; the launch's is rounded up."""
    for tokens in (1, 2, 49, 196, 335, 1369):
        for method, dtype, width in (
            ("complete", torch.float32, 4),
            ("single", torch.float64, 8),
            ("average", torch.float32, 8),
            ("ward", torch.float64, 8),
        ):
            exact, asked = emulation.grid_bytes(tokens, width), memory.grid_bytes(tokens, method, dtype)
            assert exact <= asked < exact + 256
            assert asked % 256 == 0

"""Every backend against the loop-written oracle, to the bit, on data chosen to break them."""

from __future__ import annotations

import pytest
import torch

from atc.ops.linkage import METHODS, cpu, dendrogram, labels
from atc.ops.linkage.torch import rounds, steps
from tests.reference.distances import KINDS, batch, thirds

SIZES = [1, 2, 3, 7, 49, 98, 144, 197]


def keeps(tokens):
    """All of them for small N, and a spread of them for large."""
    return sorted({1, 2, 3, *range(1, tokens + 2, max(1, tokens // 12)), tokens - 1, tokens} - {0, -1})


@pytest.fixture(scope="module")
def oracle():
    """The whole tree of the oracle: merges are a prefix of it, whatever K."""
    known = {}

    def tree(tokens, method, kinds=None, dtype=torch.float32):
        key = (tokens, method, dtype, *(kinds or ()))
        if key not in known:
            distance = batch(tokens, kinds)
            distance = thirds(distance) if dtype == torch.float64 else distance
            known[key] = distance, dendrogram(distance, 1, method, backend="reference")
        return known[key]

    return tree


def assert_same_tree(merges, heights, tree, message):
    assert torch.equal(merges, tree.merges[:, : merges.shape[1]]), message
    torch.testing.assert_close(heights, tree.heights[:, : merges.shape[1]], rtol=0, atol=0, equal_nan=True, msg=message)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tokens", SIZES)
def test_compiled_kernel_equals_the_oracle(kernel, oracle, tokens, method):
    distance, tree = oracle(tokens, method)
    for avx2 in (True, False):
        found = cpu.cluster(distance, 1, method, want_merges=True, avx2=avx2)
        assert_same_tree(found.merges, found.heights, tree, f"{tokens} tokens, {method}, avx2={avx2}")
        for keep in keeps(tokens):
            found = cpu.cluster(distance, keep, method, avx2=avx2).labels
            assert torch.equal(found, tree.labels(keep)), f"{tokens} tokens, keep={keep}, {method}, avx2={avx2}"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tokens", [3, 7, 49])
def test_compiled_kernel_equals_the_oracle_in_float64(kernel, oracle, tokens, method):
    distance, tree = oracle(tokens, method, dtype=torch.float64)
    for avx2 in (True, False):
        found = cpu.cluster(distance, 1, method, want_merges=True, avx2=avx2)
        assert_same_tree(found.merges, found.heights, tree, f"{tokens} tokens, {method}, avx2={avx2}")


@pytest.mark.parametrize("algorithm", ["greedy", "prim"])
@pytest.mark.parametrize("tokens", [2, 7, 49, 98])
def test_both_algorithms_for_single_linkage_agree_in_ties(kernel, oracle, tokens, algorithm):
    distance, tree = oracle(tokens, "single")
    for keep in range(1, tokens + 1):
        found = cpu.cluster(distance, keep, "single", algorithm=algorithm).labels
        assert torch.equal(found, tree.labels(keep)), f"{tokens} tokens, keep={keep}, {algorithm}"


@pytest.mark.parametrize(
    ("tokens", "method", "kinds"),
    [
        (196, "single", ("regions", "half")),
        (257, "complete", ("regions", "duplicates", "half")),
        (257, "average", ("regions", "duplicates", "wide_range")),
        (576, "average", ("regions",)),
    ],
)
def test_compiled_kernel_equals_the_oracle_on_many_tokens(kernel, oracle, tokens, method, kinds):
    distance, tree = oracle(tokens, method, list(kinds))
    for keep in keeps(tokens):
        assert torch.equal(cpu.cluster(distance, keep, method).labels, tree.labels(keep)), f"keep={keep}"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tokens", [1, 2, 3, 7, 49, 98])
def test_portable_backend_equals_the_oracle(oracle, tokens, method):
    distance, tree = oracle(tokens, method)
    assert_same_tree(*steps.merge_batch(distance, 1, method), tree, f"{tokens} tokens, {method}")
    keep = tokens // 2 + 1
    assert torch.equal(labels(distance, keep, method, backend="torch"), tree.labels(keep))


@pytest.mark.parametrize("method", METHODS)
def test_portable_backend_equals_the_oracle_in_float64(oracle, method):
    distance, tree = oracle(49, method, dtype=torch.float64)
    assert_same_tree(*steps.merge_batch(distance, 1, method), tree, method)


@pytest.mark.parametrize("method", ["single", "complete", "average"])
@pytest.mark.parametrize("tokens", [1, 2, 3, 7, 49, 98])
def test_rounds_equal_the_oracle(oracle, tokens, method):
    distance, tree = oracle(tokens, method)
    exact = [method != "average" or rounds.has_exact_sums(image[None]) for image in distance]
    assert sum(exact) >= 7
    for keep in {1, 2, tokens // 4, tokens // 2, tokens - 1, tokens, tokens + 3} - {0}:
        merges, heights = rounds.merge_batch(distance[exact], keep, method)
        steps = merges.shape[1]
        assert torch.equal(merges, tree.merges[exact][:, :steps]), f"{tokens} tokens, keep={keep}, {method}"
        torch.testing.assert_close(heights, tree.heights[exact][:, :steps], rtol=0, atol=0, equal_nan=True)


def test_rounds_are_few_and_taken_where_they_are_the_faster_way(oracle, monkeypatch):
    asked = []
    monkeypatch.setattr(rounds, "_open", lambda *a, _open=rounds._open: asked.append(1) or _open(*a))
    distance = batch(196, ["regions"] * 2)
    assert rounds.suits(distance, 98, "average")
    found = labels(distance, 98, "average", backend="torch")
    assert torch.equal(found, labels(distance, 98, "average", backend="reference"))
    assert 1 < len(asked) <= 20  # 18 on this seed, the last of which finds nothing to do
    assert not rounds.suits(distance, 190, "average")
    assert not rounds.suits(batch(49, ["wide_range"]), 12, "average")
    assert not rounds.suits(distance, 49, "ward")


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("method", METHODS)
def test_an_image_does_not_see_its_batch(kernel, backend, method):
    distance = batch(49)
    whole = labels(distance, 12, method, backend=backend)
    for image, kind in enumerate(KINDS):
        alone = labels(distance[image : image + 1], 12, method, backend=backend)
        assert torch.equal(alone[0], whole[image]), kind
    order = torch.randperm(len(distance))
    shuffled = labels(distance[order], 12, method, backend=backend)
    assert torch.equal(shuffled, whole[order])


@pytest.mark.parametrize("infinite", [False, True])
@pytest.mark.parametrize("method", ["average", "ward"])
def test_a_merged_distance_that_rounding_puts_below_both_it_came_from(kernel, method, infinite):
    """Multiples of 0.7: in one image of a hundred such a distance ties with another and must come first."""
    random = torch.Generator().manual_seed(0)
    distance = torch.randint(1, 4, (3000, 10, 10), generator=random).double() * 0.7
    if infinite:
        distance[:, 8, 9] = torch.inf
    merges, heights = steps.merge_batch(distance, 1, method)
    found = cpu.cluster(distance, 1, method, want_merges=True)
    assert torch.equal(found.merges, merges)
    assert torch.equal(found.heights, heights)

"""The block of the cuda backend, emulated on the CPU: equal to the oracle, and under sanitizers."""

from __future__ import annotations

import pytest
import torch

from atc.cost.tokens import smooth
from atc.ops.linkage import METHODS, cosine_distance, dendrogram, labels
from atc.ops.linkage.cuda import memory
from tests.ops.emulation import Emulation, assert_equals
from tests.reference.distances import FINITE, KINDS, batch, thirds


@pytest.fixture(scope="module")
def emulation(tmp_path_factory):
    """One thread a block: as good as any number of them, since blocks must not depend on it."""
    return Emulation(tmp_path_factory.mktemp("emulation") / "lanes1.so", lanes=1, threads=1)


def keeps(tokens):
    return sorted({1, 2, tokens // 4, tokens // 2, 7 * tokens // 10, tokens - 1, tokens, tokens + 3} - {0})


@pytest.mark.parametrize("method", METHODS)
def test_emulated_block_equals_the_oracle(emulation, method):
    for tokens in (1, 2, 3, 7, 49, 98):
        given = batch(tokens)
        for distance in (given, thirds(given)) if tokens < 98 else (given,):
            tree = dendrogram(distance, 1, method, backend="reference")
            for keep in keeps(tokens):
                case = f"{tokens} tokens, {distance.dtype}, keep={keep}, {method}"
                assert_equals(emulation.cluster(distance, keep, method), tree, keep, case)


@pytest.mark.parametrize("method", ["single", "complete", "average"])
def test_emulated_block_equals_the_oracle_on_a_vit_s_tokens(emulation, method):
    distance = batch(196, ["regions", "duplicates", "half", "few_values"])
    tree = dendrogram(distance, 1, method, backend="reference")
    for keep in keeps(196):
        assert_equals(emulation.cluster(distance, keep, method), tree, keep, f"keep={keep}")


@pytest.mark.slow
def test_warps_of_a_gpu_s_width(tmp_path):
    two_warps = Emulation(tmp_path / "lanes32.so", lanes=32, threads=64)
    for tokens, kinds in ((7, list(KINDS)), (70, ["regions", "wide_range"])):
        for method in METHODS:
            distance = batch(tokens, kinds)
            tree = dendrogram(distance, 1, method, backend="reference")
            case = f"{tokens} tokens, {method}"
            assert_equals(two_warps.cluster(distance, tokens // 3, method), tree, tokens // 3, case)


def test_any_memory_layout_and_nothing_but_the_upper_triangle(emulation):
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
        for view in layouts:
            assert torch.equal(emulation.cluster(view, 6, method).labels, expected), (method, view.stride())
    assert emulation.cluster(distance[:0], 6, "average").labels.shape == (0, 20)
    assert emulation.cluster(distance[:, :0, :0], 6, "average").labels.shape == (len(given), 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zeros_of_either_sign_are_equally_near_and_subnormal_numbers_are_not(emulation, dtype):
    random = torch.Generator().manual_seed(0)
    least = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    values = torch.tensor([0.0, -0.0, least, 2 * least, -least], dtype=dtype)
    for some in (values[:2], values):
        distance = some[torch.randint(len(some), (50, 9, 9), generator=random)]
        for method in METHODS:
            tree = dendrogram(distance, 1, method, backend="reference")
            assert_equals(emulation.cluster(distance, 1, method), tree, 1, method)


def test_sums_that_are_not_exact_are_added_in_the_oracle_s_order(emulation):
    """Which blocks do so is counted: cosine distances must not, being multiples of 2^-24."""
    exact = cosine_distance(smooth(4, 98))
    assert (emulation.cluster(exact, 30, "average").counters[:, 3] == 0).all()
    assert (emulation.cluster(exact.double() / 3, 30, "average").counters[:, 3] == 1).all()
    # Multiples of 0.7: in one image of a hundred a mean that rounding puts too low must come first.
    random = torch.Generator().manual_seed(0)
    distance = torch.randint(1, 4, (500, 10, 10), generator=random).double() * 0.7
    distance[::2, 8, 9] = torch.inf
    for method in ("average", "ward"):
        tree = dendrogram(distance, 1, method, backend="torch")
        assert_equals(emulation.cluster(distance, 1, method), tree, 1, method)


@pytest.mark.parametrize(
    ("tokens", "most", "largest", "exact"),
    [
        (64, 1.0, 2.0**43 - 1, True),  # 64 tokens make sums of up to 2^10 distances
        (64, 1.0, 2.0**43, False),
        (65, 1.0, 2.0**42, False),
        (65, 1.0, 2.0**41 - 1, True),
        (8, 2.0**1019, 2.0**1019, True),  # and 8 of up to 2^4
        (8, 2.0**1020, 2.0**1020, False),
    ],
)
def test_exact_sums_are_recognised_up_to_the_last_bit(emulation, tokens, most, largest, exact):
    """Whole numbers are exact in float64 up to 2^53, and infinite from 2^1024 on."""
    distance = torch.full((1, tokens, tokens), most, dtype=torch.float64)
    distance[0, 0, 1] = largest
    distance[0, 1:3] *= -1
    found = emulation.cluster(distance, 1, "average")
    assert found.counters[0, 3] == (not exact)
    assert_equals(found, dendrogram(distance, 1, "average", backend="reference"), 1, "")


# Measured on these images, mean of 16: 5.9, 4.1, 3.1, 2.4 rounds with complete linkage, 6.1, 4.8, 3.2, 2.9 with average
# (7 at most), and 1.74, 1.58, 1.36, 1.10 times N^2 cells scanned, of which the first pass is 0.99.
@pytest.mark.parametrize("method", ["complete", "average"])
def test_rounds_and_cells_on_image_like_data(emulation, method):
    distance = cosine_distance(smooth(16, 196))
    for rate, cells in ((0.25, 1.9), (0.5, 1.7), (0.7, 1.45), (0.9, 1.2)):
        keep = int(196 * rate)
        counters = emulation.cluster(distance, keep, method).counters.double()
        assert counters[:, 0].max() <= 12
        assert counters[:, 0].mean() < 6.5
        assert (counters[:, 2] / 196**2).mean() < cells
        assert (counters[:, 1] >= 196 - keep).all()  # those above the cut were undone


def test_of_equal_distances_none_is_merged_beyond_the_cut(emulation):
    counters = emulation.cluster(batch(49, ["all_equal"]), 30, "complete").counters
    assert counters[0, :2].tolist() == [19, 19]  # a merge a round


def test_shared_memory_is_what_the_block_uses(emulation):
    """AddressSanitizer, below, holds the block to the emulation's formula."""
    for tokens in (1, 2, 49, 196, 335):
        assert emulation.shared_bytes(tokens, 4) == memory.shared_bytes(tokens, "complete", torch.float32)
        assert emulation.shared_bytes(tokens, 8) == memory.shared_bytes(tokens, "single", torch.float64)
        assert emulation.shared_bytes(tokens, 8) == memory.shared_bytes(tokens, "average", torch.float32)
    hopper = 227 * 1024
    assert memory.most_tokens(hopper, "complete", torch.float32) == 335
    assert memory.most_tokens(hopper, "average", torch.float32) == 237
    assert 2 * memory.shared_bytes(196, "complete", torch.float32) < hopper  # two images at a time

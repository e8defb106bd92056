"""Group sums against the plain twin."""

from __future__ import annotations

import pytest
import torch

from atc.ops.segment import group_sum
from tests.reference import segment as twin

SHAPES = [(2, 7, 3), (1, 1, 1), (3, 49, 5), (2, 7), (0, 4, 3), (2, 0, 3)]


def example(shape, groups=4, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(-1, groups, shape[:2], generator=generator)
    weight = torch.rand(shape[:2], generator=generator, dtype=torch.float64).to(dtype) + 0.5
    return x, labels, weight


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_plain_twin(shape, weighted):
    x, labels, weight = example(shape)
    weight = weight if weighted else None
    out = group_sum(x, labels, 4, weight)
    assert out.shape == (shape[0], 4, *shape[2:])
    torch.testing.assert_close(out, twin.group_sum(x, labels, 4, weight), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    x = torch.ones(1, 5000, 1, dtype=dtype)
    out = group_sum(x, torch.zeros(1, 5000, dtype=torch.int64), 1)
    assert out.dtype == dtype
    assert out.item() == torch.tensor(5000.0).to(dtype).item()  # summed in bfloat16 it would stop at 256


def test_dropped_tokens_count_for_nothing_and_empty_groups_are_zero():
    x = torch.tensor([[1.0, 2.0, torch.nan]])
    out = group_sum(x, torch.tensor([[2, 2, -1]]), 4)
    assert out.tolist() == [[0.0, 0.0, 3.0, 0.0]]


@pytest.mark.parametrize("shape", [(2, 6, 3), (2, 6)], ids=str)
def test_gradients(shape):
    x, labels, weight = example(shape)
    x.requires_grad_()
    weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: group_sum(x, labels, 4, w), (x, weight))
    assert torch.autograd.gradcheck(lambda x: group_sum(x, labels, 4), (x,))


def test_images_do_not_mix():
    x, labels, weight = example((8, 20, 3), dtype=torch.float32)
    whole = group_sum(x, labels, 4, weight)
    alone = torch.cat([group_sum(x[i : i + 1], labels[i : i + 1], 4, weight[i : i + 1]) for i in range(8)])
    assert torch.equal(whole, alone)


def test_non_contiguous_input():
    x, labels, weight = example((4, 9, 6))
    out = group_sum(x.mT.contiguous().mT, labels.T.contiguous().T, 4, weight.T.contiguous().T)
    assert torch.equal(out, group_sum(x, labels, 4, weight))


def test_compiles_as_one_graph_and_exports():
    x, labels, weight = example((2, 9, 3), dtype=torch.float32)
    expected = group_sum(x, labels, 4, weight)
    compiled = torch.compile(group_sum, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, labels, 4, weight), expected)

    class Merge(torch.nn.Module):
        def forward(self, x, labels, weight):
            return group_sum(x, labels, 4, weight)

    exported = torch.export.export(Merge(), (x, labels, weight))
    assert torch.equal(exported.module()(x, labels, weight), expected)


def test_autocast_leaves_the_sum_alone():
    x, labels, weight = example((2, 50, 3), dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = group_sum(x, labels, 4, weight)
    assert torch.equal(out, group_sum(x, labels, 4, weight))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, dtype=torch.int64), 2), r"\[2, 3, 4, 5\]"),
        ((torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.int64), 2), "int64"),
        ((torch.zeros(2, 3), torch.zeros(2, 3), 2), "labels must be int64"),
        ((torch.zeros(2, 3), torch.zeros(2, 4, dtype=torch.int64), 2), r"\[2, 4\]"),
        ((torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.int64), -1), "-1"),
        ((torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.int64), 2, torch.zeros(3)), r"weight .* \[3\]"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        group_sum(*arguments)

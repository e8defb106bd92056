"""Plans against arithmetic spelled out in loops."""

import pytest
import torch

from atc.core import Assign, Mix, Select, follow

B, N, C, K = 3, 17, 5, 6


def tokens(dtype=torch.float64):
    return torch.randn(B, N, C, dtype=dtype, requires_grad=True)


def sizes():
    return torch.randint(1, 9, (B, N)).double()


def covering_labels(dropped=False):
    labels = torch.stack([torch.cat([torch.arange(K), torch.randint(0, K, (N - K,))]) for _ in range(B)])
    if dropped:
        labels[:, -2:] = -1
    return labels[:, torch.randperm(N)]


@pytest.mark.parametrize("dropped", [False, True])
def test_assign_is_the_weighted_mean_of_each_group(dropped):
    x, size, labels, weight = tokens(), sizes(), covering_labels(dropped), torch.rand(B, N).double()
    plan = Assign(labels, K, weight, eps=1e-6)
    y, out_size = plan.reduce(x, size), plan.reduce_size(size)
    for b in range(B):
        for k in range(K):
            members = [n for n in range(N) if labels[b, n] == k]
            w = sum(size[b, n] * weight[b, n] for n in members)
            mean = sum(size[b, n] * weight[b, n] * x[b, n] for n in members) / (w + 1e-6)
            torch.testing.assert_close(y[b, k], mean)
            assert out_size[b, k] == sum(size[b, n] for n in members)
    y.sum().backward()
    assert (x.grad[labels >= 0].abs().sum(-1) > 0).all()


def test_weighted_sum_ignores_sizes():
    x, labels, weight = tokens(), covering_labels(), torch.rand(B, N).double()
    plan = Assign(labels, K, weight, average=False)
    assert torch.equal(plan.reduce(x, sizes()), plan.reduce(x, torch.ones(B, N).double()))
    expected = torch.nn.functional.one_hot(labels, K).double().transpose(1, 2) @ (x * weight[..., None])
    torch.testing.assert_close(plan.reduce(x, sizes()), expected)


def test_select_gathers_and_drops():
    x, size = tokens(), sizes()
    indices = torch.stack([torch.randperm(N)[:K] for _ in range(B)])
    plan = Select(indices, num_in=N)
    for b in range(B):
        assert torch.equal(plan.reduce(x, size)[b], x[b, indices[b]])
        assert torch.equal(plan.reduce_size(size)[b], size[b, indices[b]])
        assert [int(plan.labels[b, n]) for n in indices[b]] == list(range(K))
    assert int((plan.labels < 0).sum()) == B * (N - K)


def test_select_with_clusters_counts_members():
    labels, size = covering_labels(), sizes()
    first = torch.stack([torch.tensor([row.tolist().index(k) for k in range(K)]) for row in labels])
    plan = Select(first, num_in=N, labels=labels)
    assert torch.equal(plan.reduce_size(size).sum(1), size.sum(1))


def test_expand_returns_each_tokens_group_and_fills_the_rest():
    labels, y = covering_labels(dropped=True), torch.randn(B, K, C)
    out = Assign(labels, K).expand(y, fill=7.0)
    for b in range(B):
        for n in range(N):
            expected = y[b, labels[b, n]] if labels[b, n] >= 0 else torch.full((C,), 7.0)
            assert torch.equal(out[b, n], expected)


def test_mix_conserves_size_and_expands_by_share():
    weights, x, size = torch.rand(B, K, N).double(), tokens(), sizes()
    plan = Mix(weights)
    torch.testing.assert_close(plan.reduce(x, size), weights @ x)
    torch.testing.assert_close(plan.reduce_size(size).sum(1), size.sum(1))
    torch.testing.assert_close(plan.expand(torch.ones(B, K, C).double()), torch.ones(B, N, C).double())
    assert torch.equal(plan.labels, weights.argmax(1))


def test_mix_sums_up_other_tokens_than_those_of_the_sequence():
    weights, x, size, other = torch.rand(B, K, N).double(), tokens(), sizes(), torch.randn(B, N, C)
    plan = Mix(weights, tokens=other)
    prefix = torch.randn(B, 2, C).double()
    for given, behind in ((x, 0), (torch.cat([prefix, x], dim=1), 2)):
        found, left = plan.apply(given, size, size, behind)
        torch.testing.assert_close(found[:, behind:], weights @ other.double())
        assert torch.equal(found[:, :behind], prefix[:, :behind])
        torch.testing.assert_close(left, plan.reduce_size(size))
    torch.testing.assert_close(plan.reduce(x, size), weights @ x)


@pytest.mark.parametrize("wrong", [torch.randn(B, N + 1, C), torch.randn(B, N), torch.ones(B, N, C).long(), [1.0]])
def test_mix_refuses_other_tokens_of_another_kind(wrong):
    with pytest.raises(ValueError, match=r"^tokens must be floating"):
        Mix(torch.rand(B, K, N), tokens=wrong)
    with pytest.raises(ValueError, match=r"^tokens must be floating \[3, 17, 5\], got"):
        Mix(torch.rand(B, K, N), tokens=torch.randn(B, N, C + 1)).apply(torch.rand(B, N, C), *[torch.rand(B, N)] * 2, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_streams_stay_half_and_sum_in_float32(dtype):
    x = torch.full((1, 400, 2), 1.25, dtype=dtype)
    plan = Assign(torch.zeros(1, 400, dtype=torch.int64), 1)
    y = plan.reduce(x, torch.ones(1, 400))
    assert y.dtype == dtype
    assert torch.equal(y, torch.full((1, 1, 2), 1.25, dtype=dtype))


def test_follow_composes_labels_and_keeps_drops():
    source = torch.tensor([[0, 1, -1, 2, 1]])
    labels = torch.tensor([[1, -1, 0]])
    assert follow(source, labels).tolist() == [[1, -1, -1, 0, -1]]

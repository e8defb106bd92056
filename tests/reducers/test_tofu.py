"""ToFu against its definition in loops."""

import pytest
import torch

from atc.core import Select, Stage
from reducers.tofu import ToFu
from tests.reducers.test_tome import reference
from tests.reducers.views import random_view


@pytest.mark.parametrize("n", [22, 23])
@pytest.mark.parametrize("removed", [1, 5, 11])
def test_early_blocks_remove_what_tome_merges(n, removed):
    view, keep = random_view(n=n, seed=removed), n - removed
    plan = ToFu(Stage(7, 8, keep, depth=12))(view, keep)
    assert isinstance(plan, Select)
    for b in range(2):
        groups = reference(view.keys[b], keep)
        merged = {i for group in groups for i in group if len(group) > 1 and i % 2}
        assert plan.indices[b].tolist() == [next(i for i in group if i not in merged) for group in groups]
        assert {i for i in range(n) if plan.labels[b, i] < 0} == merged


@pytest.mark.parametrize("n", [22, 23])
@pytest.mark.parametrize("as_released", [False, True])
def test_late_blocks_keep_the_largest_norm(n, as_released):
    view, keep = random_view(n=n), n - 7
    plan = ToFu(Stage(8, 8, keep, depth=12), as_released=as_released)(view, keep)
    reduced = plan.reduce(view.x, torch.ones_like(view.size))
    for b in range(2):
        for k, group in enumerate(reference(view.keys[b], keep)):
            x = view.x[b, group]
            (receiver,) = [i for i in group if i % 2 == 0 or len(group) == 1]
            mean, length = x.mean(0), x.norm(dim=1).max()
            divisor = view.x[b, receiver].norm() if as_released else mean.norm()
            torch.testing.assert_close(reduced[b, k], mean * length / divisor)
            if not as_released:
                torch.testing.assert_close(reduced[b, k].norm(), length)


def test_zero_tokens_and_gradients():
    view = random_view(n=9)
    x = torch.zeros_like(view.x).requires_grad_()
    plan = ToFu(Stage(8, 8, 6, depth=12))(view, 6)
    assert torch.equal(plan.reduce(x, view.size), torch.zeros(2, 6, 8, dtype=torch.float64))
    x = view.x.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: plan.reduce(x, torch.ones_like(view.size)), x)


@pytest.mark.parametrize(
    ("merge_from", "block", "merges"), [(0.5, 7, False), (0.5, 8, True), (0, 2, True), (1, 12, False)]
)
def test_where_it_merges(merge_from, block, merges):
    assert ToFu(Stage(block, 8, 5, depth=12), merge_from=merge_from).merges is merges

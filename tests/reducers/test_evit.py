import torch

from atc.core import Stage
from reducers.evit import EViT
from tests.reducers.views import random_view


def test_the_rest_becomes_one_unnormalised_weighted_sum():
    view, keep = random_view(), 7
    plan = EViT(Stage(4, 8, keep))(view, keep)
    y, size = plan.reduce(view.x, view.size), plan.reduce_size(view.size)
    for b in range(2):
        score = view.cls_attn[b].mean(0)
        order = sorted(range(23), key=lambda n: -float(score[n]))
        for slot, n in enumerate(order[:keep]):
            assert torch.equal(y[b, slot], view.x[b, n])
        fused = sum(score[n] * view.x[b, n] for n in order[keep:])
        torch.testing.assert_close(y[b, keep], fused)
        assert size[b, keep] == sum(view.size[b, n] for n in order[keep:])


def test_a_fused_token_is_an_ordinary_candidate_later():
    """Nothing marks it: the plan depends on attention alone."""
    view = random_view()
    fused_last = view._replace(size=view.size.index_fill(1, torch.tensor([22]), 50.0))
    reducer = EViT(Stage(7, 8, 7))
    assert torch.equal(reducer(view, 7).labels, reducer(fused_last, 7).labels)

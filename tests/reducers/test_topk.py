import torch

from atc.core import Stage
from reducers.topk import TopK
from tests.reducers.views import random_view


def test_keeps_the_most_attended_in_order_of_attention():
    view = random_view()
    plan = TopK(Stage(4, 8, 7))(view, 7)
    for b in range(2):
        score = [sum(float(view.cls_attn[b, h, n]) for h in range(3)) for n in range(23)]
        expected = sorted(range(23), key=lambda n: -score[n])[:7]
        assert plan.indices[b].tolist() == expected
    assert torch.equal(plan.reduce(view.x, view.size)[0, 0], view.x[0, plan.indices[0, 0]])

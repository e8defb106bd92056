import itertools

import pytest
import torch

from atc.core import Stage
from reducers.kmedoids import KMedoids
from tests.reducers.views import random_view


def reference(x: torch.Tensor, weight: list[float], keep: int, iterations: int, released: bool) -> list[int]:
    """Medoids of one image, in loops."""
    n = len(x)
    d = [[float((x[i] - x[j]).norm()) for j in range(n)] for i in range(n)]
    medoids = sorted(range(n), key=lambda i: -weight[i])[:keep]
    for _ in range(iterations):
        label = [min(range(keep), key=lambda k: d[i][medoids[k]]) for i in range(n)]
        for k in range(keep):
            members = [i for i in range(n) if label[i] == k]

            def cost(i: int, members: list[int] = members) -> float:
                if released:
                    return weight[i] * sum(d[i])
                return sum(weight[j] * d[i][j] for j in members)

            medoids[k] = min(members, key=cost) if members else 0
    return medoids


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_against_loops(released, iterations):
    view, keep = random_view(), 6
    plan = KMedoids(Stage(4, 8, keep), iterations=iterations, as_released=released)(view, keep)
    for b in range(2):
        received = view.attn[b].sum(0)[:, 1:]
        weight = received.sum(0) if released else received[0]
        assert plan.indices[b].tolist() == reference(view.x[b], weight.tolist(), keep, iterations, released)


def test_medoids_minimise_their_clusters_cost():
    """As stated, an update never raises the weighted cost; the released objective does not see the members."""
    view, keep = random_view(n=60, dim=2), 8
    weight = view.attn.sum(1)[:, 0, 1:]

    def cost(iterations: int) -> torch.Tensor:
        plan = KMedoids(Stage(4, 2, keep), iterations=iterations)(view, keep)
        nearest = torch.cdist(view.x, plan.reduce(view.x, view.size)).amin(dim=2)
        return (nearest * weight).sum(1)

    costs = [cost(i) for i in range(5)]
    assert all((after <= before + 1e-9).all() for before, after in itertools.pairwise(costs))
    assert (costs[-1] < costs[0]).any()


def test_without_cls_the_weight_is_attention_received():
    view = random_view(prefix=0)
    plan = KMedoids(Stage(4, 8, 5, has_cls=False), iterations=0)(view, 5)
    assert torch.equal(plan.indices, view.attn.sum((1, 2)).topk(5).indices)


def test_equal_weights_start_far_apart_and_need_no_attention():
    view = random_view()._replace(attn=None)
    reducer = KMedoids(Stage(1, 8, 5), equal_weight=True)
    assert reducer.needs == frozenset()
    assert len(set(reducer(view, 5).indices[0].tolist())) == 5

import math

import pytest
import torch

from atc.core import Stage
from reducers.dpc_knn import DPCKNN
from tests.golden import same_partition
from tests.reducers.views import random_view


def reference(x: torch.Tensor, keep: int, k: int) -> list[int]:
    """Labels of one image by density peaks, in loops."""
    n, dim = x.shape
    d = [[float((x[i] - x[j]).norm()) / math.sqrt(dim) for j in range(n)] for i in range(n)]
    density = [math.exp(-sum(v * v for v in sorted(d[i])[:k]) / k) for i in range(n)]
    top = max(max(row) for row in d)
    parent = [min([d[i][j] for j in range(n) if density[j] > density[i]], default=top) for i in range(n)]
    centres = sorted(range(n), key=lambda i: -density[i] * parent[i])[:keep]
    return [centres.index(i) if i in centres else min(range(keep), key=lambda c: d[i][centres[c]]) for i in range(n)]


@pytest.mark.parametrize("k", [3, 5])
def test_against_loops(k):
    view, keep = random_view(), 6
    plan = DPCKNN(Stage(4, 8, keep), k=k, equal_weight=True)(view, keep)
    for b in range(2):
        assert plan.labels[b].tolist() == reference(view.x[b], keep, k)


def test_learned_weights_start_equal_and_then_count():
    view, keep = random_view(), 6
    learned = DPCKNN(Stage(4, 8, keep)).double()
    equal = DPCKNN(Stage(4, 8, keep), equal_weight=True)
    ones = torch.ones_like(view.size)
    torch.testing.assert_close(learned(view, keep).reduce(view.x, ones), equal(view, keep).reduce(view.x, ones))
    torch.nn.init.normal_(learned.weight.weight)
    plan = learned(view, keep)
    members = plan.labels[0] == 0
    weight = learned.weight(view.x[0, members]).exp()
    torch.testing.assert_close(
        plan.reduce(view.x, ones)[0, 0], (weight * view.x[0, members]).sum(0) / (weight.sum() + 1e-6)
    )


def test_noise_only_as_released():
    x = torch.arange(30.0).double()[None, :, None].expand(1, 30, 4)  # evenly spaced: the interior is equally dense
    view = random_view(batch=1, n=30, dim=4)._replace(x=x)
    stated, released = (DPCKNN(Stage(4, 4, 9), equal_weight=True, as_released=r) for r in (False, True))
    assert torch.equal(stated(view, 9).labels, stated(view, 9).labels)
    first = released(view, 9).labels
    assert any(not same_partition(first, released(view, 9).labels.numpy()) for _ in range(5))

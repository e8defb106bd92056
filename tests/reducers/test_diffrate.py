"""DiffRate against its definition in loops."""

import pytest
import torch
from torch.nn import functional as F

from atc.core import Stage
from reducers.diffrate import DiffRate
from tests.reducers.views import random_view


@pytest.mark.parametrize(("p", "left"), [(None, 18), ([15], 15), ([23], 23), ([13], 13), ([1], 13)])
@pytest.mark.parametrize("as_released", [False, True])
def test_against_loops(p, left, as_released):
    view, keep = random_view(), 13
    plan = DiffRate(Stage(4, 8, keep, depth=12), p, as_released)(view, keep)
    reduced, sizes = plan.reduce(view.x, torch.ones_like(view.size)), plan.reduce_size(view.size)
    for b in range(2):
        rank = view.cls_attn[b].mean(0).argsort(descending=True).tolist()
        groups, size = {i: [i] for i in rank[:keep]}, {i: float(view.size[b, i]) for i in rank[:keep]}
        for i in rank[keep:left]:
            similar = {j: float(F.cosine_similarity(view.x[b, i], view.x[b, j], dim=0)) for j in rank[:keep]}
            best = max(similar, key=similar.__getitem__)
            groups[best].append(i)
            size[best] += float(view.size[b, i]) * (similar[best] if as_released else max(similar[best], 0))
        for k, i in enumerate(rank[:keep]):
            torch.testing.assert_close(reduced[b, k], view.x[b, groups[i]].mean(0))
            assert float(sizes[b, k]) == pytest.approx(size[i])
        assert sorted(rank[left:]) == [i for i in range(23) if plan.labels[b, i] < 0]


def test_a_patch_that_points_away_takes_from_the_size_as_released_only():
    view = random_view(1, 3)
    view = view._replace(x=torch.tensor([[[1.0], [-1.0], [1.0]]]).double(), size=torch.ones(1, 3).double())
    view = view._replace(cls_attn=torch.tensor([[[0.5, 0.3, 0.2]]]).double())
    for as_released, size in ((False, 2.0), (True, 1.0)):
        plan = DiffRate(Stage(4, 8, 1, depth=12), [3], as_released)(view, 1)
        assert plan.reduce_size(view.size).tolist() == [[size]]


def test_counts_by_block_of_the_backbone_or_by_block_that_reduces():
    assert DiffRate(Stage(4, 8, 5, depth=3 * 4, number=1), list(range(1, 13))).p == 4
    assert DiffRate(Stage(4, 8, 5, depth=12, number=2), [9, 7]).p == 7
    with pytest.raises(ValueError, match=r"p must have a count for each block that reduces, 3 at least, got 2"):
        DiffRate(Stage(4, 8, 5, depth=12, number=3), [9, 7])

"""PiToMe against its definition in loops."""

import math

import pytest
import torch

from atc.core import Stage
from reducers.pitome import PiToMe
from tests.reducers.views import random_view


def reference(keys: torch.Tensor, keep: int, margin: float, protects: bool) -> list[list[int]]:
    """Sets of tokens in output order; keys [N, D]."""
    tokens, merged = len(keys), len(keys) - keep
    unit = keys / keys.norm(dim=1, keepdim=True)
    cosine = [[float(unit[i] @ unit[j]) for j in range(tokens)] for i in range(tokens)]

    def energy(i: int) -> float:
        above = (value - margin for value in cosine[i])
        return sum(value if value >= 0 else math.exp(value) - 1 for value in above) / tokens

    rank = sorted(range(tokens), key=lambda i: -energy(i))
    part = rank[: 2 * merged] if protects else rank
    a, b = part[0::2], part[1::2]
    best = {i: max(b, key=lambda j: cosine[i][j]) for i in a}
    ranked = sorted(a, key=lambda i: -cosine[i][best[i]])
    front = rank[2 * merged :] if protects else ranked[merged:]
    return [[i] for i in front] + [sorted([j] + [i for i in ranked[:merged] if best[i] == j]) for j in b]


@pytest.mark.parametrize("n", [22, 23])
@pytest.mark.parametrize("removed", [1, 5, 11])
@pytest.mark.parametrize(("block", "protects"), [(4, False), (6, False), (7, True), (12, True)])
def test_against_loops(n, removed, block, protects):
    view, keep = random_view(n=n, seed=n + removed), n - removed
    plan = PiToMe(Stage(block, 8, keep, depth=12))(view, keep)
    for b in range(2):
        groups = [[i for i in range(n) if plan.labels[b, i] == k] for k in range(keep)]
        assert groups == reference(view.keys[b], keep, 0.75 * (1 - (block - 1) / 12), protects)


def test_energy_as_worked_out_by_hand():
    """Four keys whose energies at margin .5 are .060, .060, -.015, -.015: the first two merge."""
    cosine = torch.tensor([[1, 0.9, 0.1, 0.1], [0.9, 1, 0.1, 0.1], [0.1, 0.1, 1, 0.6], [0.1, 0.1, 0.6, 1]])
    keys = torch.linalg.cholesky(cosine.double())[None]
    view = random_view(1, 4)._replace(keys=keys)
    reducer = PiToMe(Stage(1, 8, 3, depth=12), margin=0.5, protect_from=0.0)
    labels = reducer(view, 3).labels[0].tolist()
    assert labels[0] == labels[1] == 2
    assert sorted(labels[2:]) == [0, 1]


def test_equal_tokens_merge_in_order():
    view = random_view(1, 6)
    plan = PiToMe(Stage(9, 8, 4, depth=12))(view._replace(keys=torch.ones_like(view.keys)), 4)
    assert plan.labels.tolist() == [[2, 2, 2, 3, 0, 1]]


def test_removes_at_most_half():
    assert [PiToMe.least(n) for n in (196, 99, 2, 1)] == [98, 50, 1, 1]

"""MCTF against its definition in loops."""

import pytest
import torch
from torch.nn import functional as F

from atc.core import Stage, TokenView
from reducers.mctf import MCTF
from tests.reducers.views import random_view


def reference(view: TokenView, b: int, keep: int, bidirectional: bool, taus: tuple[float, ...]) -> list[list[int]]:
    """Sets of tokens in output order, of image b with one CLS token in front."""
    tokens = view.x.shape[1]
    received = view.attn[b].mean(dim=(0, 1))
    u = (1 / received) / (1 / received).max()
    w = 1 / view.size[b]  # the CLS token has size 1
    a, goals = list(range(1, tokens, 2)), list(range(0, tokens, 2))

    def attraction(i: int, j: int) -> float:
        factors = (F.cosine_similarity(view.x[b, i], view.x[b, j], dim=0) + 1) / 2, u[1 + i] * u[1 + j], w[i] * w[j]
        result = 1.0
        for factor, tau in zip(factors, taus, strict=True):
            result *= float(factor) ** (1 / tau) if tau else 1.0
        return result

    groups = {i: [i] for i in range(tokens)}
    gone = tokens - keep
    best = {i: max(goals, key=lambda j: attraction(i, j)) for i in a}
    merged = sorted(a, key=lambda i: -attraction(i, best[i]))[: gone // 2 if bidirectional else gone]
    for i in merged:
        groups[best[i]] += groups.pop(i)
    unmerged = [i for i in a if i not in merged]
    if bidirectional:
        back = {j: max(unmerged, key=lambda i: attraction(i, j)) for j in goals}
        goals = sorted(goals, key=lambda j: -attraction(back[j], j))
        for j in goals[: gone - gone // 2]:
            groups[back[j]] += groups.pop(j)
        goals = goals[gone - gone // 2 :]
    return [sorted(groups[i]) for i in unmerged + goals]


@pytest.mark.parametrize("n", [22, 23])
@pytest.mark.parametrize("removed", [1, 2, 7, 11])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("taus", [(1.0, 20.0, 40.0), (1.0, 0.0, 0.0), (0.0, 3.0, 0.5)])
def test_against_loops(n, removed, bidirectional, taus):
    view, keep = random_view(n=n, seed=removed), n - removed
    plan = MCTF(Stage(5, 8, keep), *taus, bidirectional=bidirectional)(view, keep)
    reduced = plan.reduce(view.x, view.size)
    for b in range(2):
        groups = [[i for i in range(n) if plan.labels[b, i] == k] for k in range(keep)]
        assert groups == reference(view, b, keep, bidirectional, taus)
        weight = view.size[b] * view.attn[b].mean(dim=(0, 1))[1:]
        for k, group in enumerate(groups):
            mean = (view.x[b, group] * weight[group, None]).sum(0) / weight[group].sum()
            torch.testing.assert_close(reduced[b, k], mean)


def test_sizes_alone_weight_the_means():
    view, keep = random_view(), 16
    plan = MCTF(Stage(5, 8, keep), attention_weighted=False)(view, keep)
    assert plan.weight is None


def test_attention_that_is_zero_gives_finite_tokens():
    view = random_view()
    plan = MCTF(Stage(5, 8, 16))(view._replace(attn=torch.zeros_like(view.attn)), 16)
    assert plan.reduce(view.x, view.size).isfinite().all()

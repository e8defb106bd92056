import pytest
import torch

from atc.core import Stage
from reducers.tome import ToMe
from tests.reducers.views import random_view


def reference(keys: torch.Tensor, keep: int) -> list[list[int]]:
    """Sets of tokens in output order, by bipartite matching spelled out; keys [N, D]."""
    unit = keys / keys.norm(dim=1, keepdim=True)
    a, b = list(range(1, len(keys), 2)), list(range(0, len(keys), 2))
    best = {i: max(b, key=lambda j: float(unit[i] @ unit[j])) for i in a}
    ranked = sorted(a, key=lambda i: -float(unit[i] @ unit[best[i]]))
    merged = set(ranked[: len(keys) - keep])
    return [[i] for i in a if i not in merged] + [sorted([j] + [i for i in merged if best[i] == j]) for j in b]


@pytest.mark.parametrize("n", [22, 23])
@pytest.mark.parametrize("removed", [1, 5, 11])
def test_against_matching_spelled_out(n, removed):
    view, keep = random_view(n=n), n - removed
    plan = ToMe(Stage(4, 8, keep))(view, keep)
    for b in range(2):
        groups = [[i for i in range(n) if plan.labels[b, i] == k] for k in range(keep)]
        assert groups == reference(view.keys[b], keep)


@pytest.mark.parametrize(("n", "least"), [(196, 98), (99, 50), (49, 25), (2, 1), (1, 1)])
def test_removes_at_most_half(n, least):
    assert ToMe.least(n) == least


@pytest.mark.parametrize("n", [22, 23])
@pytest.mark.parametrize("prefix", [0, 2, 5])
def test_sources_are_the_even_positions_of_the_sequence_with_its_prefix(n, prefix):
    view, keep = random_view(n=n)._replace(prefix=prefix), n - 3
    labels = ToMe(Stage(4, 8, keep))(view, keep).labels
    targets = [place for place in range(n) if (place + prefix) % 2]
    assert (labels[:, targets] >= keep - len(targets)).all()  # they come last, and each is an output of its own
    assert all(len(set(row[targets].tolist())) == len(targets) for row in labels)


def test_released_order_without_a_prefix_is_by_similarity():
    view, keep = random_view(n=22)._replace(prefix=0), 17
    stated, released = (ToMe(Stage(4, 8, keep), as_released=switch)(view, keep).labels for switch in (False, True))
    keys = view.keys / view.keys.norm(dim=-1, keepdim=True)
    best = (keys[:, ::2] @ keys[:, 1::2].transpose(1, 2)).amax(dim=-1)
    for b in range(len(keys)):
        unmerged = [i for i in range(0, 22, 2) if stated[b, i] < 6]
        assert [int(stated[b, i]) for i in unmerged] == list(range(6))
        ranked = sorted(unmerged, key=lambda i: -float(best[b, i // 2]))
        assert [int(released[b, i]) for i in ranked] == list(range(6))
        assert torch.equal(stated[b, 1::2], released[b, 1::2])
    with_cls = view._replace(prefix=1)
    one, other = (ToMe(Stage(4, 8, keep), as_released=switch)(with_cls, keep).labels for switch in (False, True))
    assert torch.equal(one, other)

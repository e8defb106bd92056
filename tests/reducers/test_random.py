import torch

from atc.core import Stage
from reducers.random import RandomPruning
from tests.reducers.views import random_view


def chosen(reducer, batch=2, n=196, keep=98):
    view = random_view(batch=batch, n=n)
    return reducer(view, keep).indices


def test_training_draws_anew_for_every_image():
    reducer = RandomPruning(Stage(4, 8, 98)).train()
    first = chosen(reducer)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, chosen(reducer))


def test_evaluation_takes_one_set_per_seed_and_block():
    make = lambda seed, block: RandomPruning(Stage(block, 8, 98), seed=seed).eval()  # noqa: E731
    base = chosen(make(0, 4))
    assert torch.equal(base[0], base[1])
    assert torch.equal(base, chosen(make(0, 4), batch=2))
    for other in (make(1, 4), make(0, 7)):
        overlap = len(set(base[0].tolist()) & set(chosen(other)[0].tolist()))
        assert 30 < overlap < 70  # about half of 98, as for independent draws


def test_positions_are_spread_evenly():
    rows = torch.zeros(14)
    for seed in range(60):
        kept = chosen(RandomPruning(Stage(4, 8, 98), seed=seed).eval(), batch=1)[0]
        rows += torch.bincount(kept // 14, minlength=14)
    assert ((rows / 60 - 7).abs() < 1.2).all()


def test_order_is_kept():
    kept = chosen(RandomPruning(Stage(4, 8, 98)).train())
    assert torch.equal(kept, kept.sort(dim=1).values)

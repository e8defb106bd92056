"""Random numbers that a method draws can be given to it."""

import pytest
import torch

from atc.core import Stage
from reducers.dpc_knn import DPCKNN
from reducers.kmedoids import KMedoids
from reducers.random import RandomPruning
from tests.reducers.views import random_view


def test_random_pruning_in_training():
    view = random_view()
    reducer = RandomPruning(Stage(4, 8, 5)).train()
    reducer.noise = torch.arange(46.0).reshape(2, 23).flip(1)
    assert reducer(view, 5).indices.tolist() == [[0, 1, 2, 3, 4]] * 2
    reducer.noise = torch.rand(2, 22)
    with pytest.raises(ValueError, match=r"noise must be \[2, 23\], got \[2, 22\]"):
        reducer(view, 5)


def test_without_noise_the_generator_of_pytorch_is_asked():
    reducer = RandomPruning(Stage(4, 8, 5)).train()
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(reducer(random_view(), 5).indices)
    torch.manual_seed(1)
    assert torch.equal(drawn[0], torch.rand(2, 23).topk(5, dim=1).indices.sort(dim=1).values)  # as ever
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_densities_as_released():
    reducer = DPCKNN(Stage(4, 8, 5), as_released=True).double()
    view = random_view()
    view = view._replace(x=torch.zeros_like(view.x))  # all equally dense: noise alone ranks them
    first = torch.linspace(1, 0, 23).double().expand(2, -1)
    for noise, centre in ((first, 0), (first.flip(1), 22)):
        reducer.noise = noise
        reducer(view, 5)
        plans = [reducer(view, 5).labels for _ in range(2)]
        assert torch.equal(*plans)
        assert plans[0][0, centre] == 0


def test_the_first_medoid_as_released():
    reducer = KMedoids(Stage(4, 8, 5), iterations=0, equal_weight=True, as_released=True)
    for first in (3, 7):
        reducer.noise = torch.tensor(first)
        assert reducer(random_view(), 5).indices[:, 0].tolist() == [first] * 2

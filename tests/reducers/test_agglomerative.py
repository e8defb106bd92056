import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import pdist

from atc.core import Stage
from reducers.agglomerative import Agglomerative
from tests.golden import same_partition
from tests.reducers.views import random_view


@pytest.mark.parametrize("method", ["single", "complete", "average", "ward"])
def test_groups_keys_as_scipy_does(method):
    view, keep = random_view(n=40), 15
    plan = Agglomerative(Stage(4, 8, keep), linkage=method)(view, keep)
    for b in range(2):
        unit = torch.nn.functional.normalize(view.keys[b], dim=1).numpy()
        tree = linkage(unit, "ward") if method == "ward" else linkage(pdist(unit, "cosine"), method)
        assert same_partition(plan.labels[b : b + 1], cut_tree(tree, keep).T)


def test_merging_is_the_size_weighted_mean():
    view = random_view()
    plan = Agglomerative(Stage(4, 8, 9))(view, 9)
    y = plan.reduce(view.x, view.size)
    for k in range(9):
        members = plan.labels[0] == k
        expected = np.average(view.x[0, members].numpy(), axis=0, weights=view.size[0, members].numpy())
        np.testing.assert_allclose(y[0, k].numpy(), expected)


def test_distances_ignore_autocast_by_default_only():
    view = random_view(n=196, seed=3)
    view = view._replace(keys=view.keys.float())
    stated, released = (Agglomerative(Stage(4, 8, 98), as_released=r) for r in (False, True))
    expected = stated(view, 98).labels
    assert torch.equal(released(view, 98).labels, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(stated(view, 98).labels, expected)
        assert not torch.equal(released(view, 98).labels, expected)


def test_a_zero_key_is_far_from_everything_instead_of_nan():
    view = random_view()
    keys = view.keys.clone()
    keys[:, 3] = 0
    plan = Agglomerative(Stage(4, 8, 12))(view._replace(keys=keys), 12)
    assert torch.isfinite(plan.reduce(view.x, view.size)).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"linkage": "avg"}, "linkage=avg must be single, complete, average or ward"),
        ({"linkage": None}, "linkage=null must be single"),
        ({"linkage_backend": "gpu"}, "linkage_backend='gpu' is no backend: take null, reference, torch, cpu"),
        ({"linkage_backend": "CPU"}, "linkage_backend='CPU' is no backend"),
    ],
)
def test_names_are_checked_while_the_model_is_built(settings, said):
    with pytest.raises(ValueError, match=said):
        Agglomerative(Stage(4, 8, 9), **settings)


@pytest.mark.no_gpu
def test_a_backend_that_cannot_run_here_is_refused_while_the_model_is_built():
    with pytest.raises(ValueError, match="linkage_backend='cuda' cannot run on this machine: take null, reference"):
        Agglomerative(Stage(4, 8, 9), linkage_backend="cuda")

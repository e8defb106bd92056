"""DHTM after the specification: neighbours by definition, connected regions, ATC without neighbours."""

import numpy as np
import pytest
import torch
from scipy.ndimage import label

import atc
from atc.core import Stage
from reducers.agglomerative import Agglomerative
from reducers.dhtm import DHTM, neighbours
from tests import golden
from tests.reducers.views import random_view

SHAPES = {
    1: np.ones((3, 3)),
    2: np.ones((5, 5)),
    "edge": np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]),
}


def on_grid(grid=(5, 7), batch=3, seed=0):
    view = random_view(batch, grid[0] * grid[1], seed=seed)
    return view._replace(grid=grid)


def connected(members, neighbourhood):
    """Whether patches `[rows, columns]` bool are one region; a step may go over a gap within a radius of 2."""
    todo = {(int(row), int(column)) for row, column in np.argwhere(members)}
    reached = [todo.pop()]
    for row, column in reached:
        shape = SHAPES[neighbourhood]
        offsets = np.argwhere(shape) - len(shape) // 2
        near = {(row + int(down), column + int(right)) for down, right in offsets} & todo
        todo -= near
        reached += sorted(near)
    return not todo


@pytest.mark.parametrize("neighbourhood", [1, 2, "edge"])
@pytest.mark.parametrize("grid", [(5, 7), (1, 6), (1, 1)])
def test_neighbours_have_patches_next_to_each_other(neighbourhood, grid):
    random = np.random.default_rng(0)
    source = random.integers(-1, 6, (2, grid[0] * grid[1]))
    found = neighbours(torch.from_numpy(source), grid, 6, neighbourhood).numpy()
    for b in range(2):
        where = [np.argwhere(source[b].reshape(grid) == token) for token in range(6)]
        for i in range(6):
            for j in range(6):
                apart = np.abs(where[i][:, None] - where[j][None])
                steps = apart.sum(-1) if neighbourhood == "edge" else apart.max(-1)
                assert i == j or found[b, i, j] == (steps <= (1 if neighbourhood == "edge" else neighbourhood)).any()


@pytest.mark.parametrize("linkage", ["single", "complete", "average"])
def test_is_atc_where_all_are_neighbours(linkage):
    view = on_grid()
    expected = Agglomerative(Stage(4, 8, 20), linkage=linkage)(view, 20).labels
    for neighbourhood in (None, 7):
        found = DHTM(Stage(4, 8, 20), neighbourhood=neighbourhood, linkage=linkage)(view, 20)
        assert torch.equal(found.labels, expected)


@pytest.mark.parametrize("neighbourhood", [1, 2, "edge"])
@pytest.mark.parametrize("update", ["sequential", "matching"])
def test_regions_stay_connected_and_fall_by_t_in_every_block(neighbourhood, update):
    arguments = {"neighbourhood": neighbourhood, "update": update}
    images = golden.images(torch.float32)[:2, :, :112, :80]  # 7 x 5 patches
    model = atc.wrap(golden_vit((112, 80)), "dhtm", schedule="constant", t=2, reducer_args=arguments)
    with torch.no_grad():
        model(images)
    assert [stage.size.shape[1] for stage in model.trace] == [35 - 2 * block for block in range(1, 13)]
    for stage in model.trace:
        for source in stage.source.numpy():
            for token in range(source.max() + 1):
                assert connected((source == token).reshape(7, 5), neighbourhood)


def golden_vit(size):
    vit = golden.vit(dtype=torch.float32)
    vit.set_input_size(img_size=size)
    return vit


def test_scipy_finds_one_component_in_every_region():
    source = DHTM(Stage(4, 8, 9))(on_grid(), 9).labels.numpy().reshape(3, 5, 7)
    assert all(label(source[b] == token, SHAPES[1])[1] == 1 for b in range(3) for token in range(9))


def test_one_merge_is_of_the_most_similar_neighbours():
    view = on_grid()
    found = DHTM(Stage(4, 8, 34), neighbourhood="edge")(view, 34).labels
    unit = view.keys / view.keys.norm(dim=-1, keepdim=True)
    for b in range(3):
        pairs = [(i, j) for i in range(35) for j in range(i + 1, 35) if j - i == 7 or (j - i == 1 and j % 7)]
        low, high = max(pairs, key=lambda pair: float(unit[b, pair[0]] @ unit[b, pair[1]]))
        assert found[b, low] == found[b, high]


@pytest.mark.parametrize("update", ["sequential", "matching"])
def test_a_mirrored_image_is_grouped_alike(update):
    view, mirror = on_grid(), torch.arange(35).unflatten(0, (5, 7)).flip(1).flatten()
    reducer = DHTM(Stage(4, 8, 25), update=update)
    found = reducer(view._replace(keys=view.keys[:, mirror]), 25).labels
    assert golden.same_partition(found[:, mirror], reducer(view, 25).labels.numpy())


def test_where_pruning_left_no_neighbours_the_closest_of_all_merge():
    """Of 25 patches those at even rows and columns are left: no two of the nine touch."""
    view = random_view(2, 9)
    source = torch.full((5, 5), -1)
    source[::2, ::2] = torch.arange(9).view(3, 3)
    view = view._replace(grid=(5, 5), source=source.flatten().expand(2, -1))
    found = DHTM(Stage(4, 8, 4))(view, 4).labels
    assert torch.equal(found, Agglomerative(Stage(4, 8, 4))(view, 4).labels)
    with pytest.raises(ValueError, match="image 0 has 0 pairs of neighbours"):
        DHTM(Stage(4, 8, 8), update="matching")(view, 8)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"neighbourhood": 0}, "neighbourhood=0 must be"),
        ({"neighbourhood": "corner"}, "neighbourhood=corner must be"),
        ({"update": "once"}, "update=once must be sequential or matching"),
        ({"linkage": "ward"}, "linkage=ward must be single, complete or average"),
        (
            {"linkage_backend": "triton"},
            "linkage_backend='triton' cannot cluster neighbours here: take null, reference",
        ),
    ],
)
def test_what_it_does_not_take_is_refused_while_the_model_is_built(settings, said):
    with pytest.raises(ValueError, match=said):
        DHTM(Stage(4, 8, 9), **settings)

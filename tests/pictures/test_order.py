"""The order of merging: replayed to the end of a stage, it must give what the model did."""

import numpy as np
import pytest
import torch

import atc
from atc.config.build import names
from atc.pictures import order
from tests import golden
from tests.reducers.amounts import amount


@pytest.fixture(scope="module")
def vit():
    return golden.vit(dtype=torch.float32)


@pytest.fixture(scope="module")
def images():
    return golden.images(torch.float32)[:2]


@pytest.mark.parametrize("name", [name for name in names("reducer") if name != "svit"])
def test_replayed_to_the_end_of_a_stage_every_method_is_where_the_model_was(name, vit, images):
    model = atc.wrap(vit, name, **amount(name), blocks=(4,) if name == "tome_2d" else (4, 7, 10), clamp=True)
    found = order.histories(model, images)
    assert len(found) == 2
    for image, history in enumerate(found):
        assert [mark.block for mark in history.stages] == [stage.block for stage in model.trace]
        for mark, stage in zip(history.stages, model.trace, strict=True):
            source = order.replay(history, mark.steps)
            assert golden.same_partition(torch.from_numpy(source[None]), stage.source[image][None].numpy())
            assert ((source < 0) == (stage.source[image] < 0).numpy()).all()
            held = {int(token) for token in stage.source[image] if token >= 0}
            assert source.max() + 1 == len(held)
            if stage.shares is None:  # of a soft method, a token may hold no patch's largest share
                assert held == set(range(mark.tokens))


def test_of_tokens_that_come_back_there_is_no_order(vit, images):
    with pytest.raises(ValueError, match=r"SViT lets tokens pass single blocks by, .* drawn in pictures"):
        order.histories(atc.wrap(vit, "svit", 0.7), images)


def test_every_step_merges_two_tokens_into_one(vit, images):
    (history,) = order.histories(atc.wrap(vit, "atc_average", 0.5), images[:1])
    assert history.grid == (14, 14)
    for steps in (0, 1, 50, len(history.steps)):
        assert order.replay(history, steps).max() + 1 == 196 - steps


def test_the_larger_token_keeps_its_leader_who_is_one_of_its_patches(vit, images):
    (history,) = order.histories(atc.wrap(vit, "atc_complete", 0.25), images[:1])
    for steps, (gone, into) in enumerate(history.steps):
        leader = order.leaders(history, steps)
        assert leader[gone] == gone
        assert leader[into] == into
        assert (leader == gone).sum() <= (leader == into).sum()


def test_single_linkage_merges_the_closest_keys_first(vit, images):
    views = []
    model = atc.wrap(vit, "atc_single", 0.5, blocks=(4,))
    model.reducers["4"].register_forward_pre_hook(lambda _, args: views.append(args[0]))
    (history,) = order.histories(model, images[:1])
    keys = torch.nn.functional.normalize(views[0].keys[0].double(), dim=-1)
    distance = (1 - keys @ keys.T).fill_diagonal_(torch.inf)
    closest = divmod(int(distance.argmin()), 196)
    assert sorted(closest) == sorted(history.steps[0])
    # Kruskal's algorithm: single linkage merges along the shortest edges of the minimum spanning tree.
    pairs = torch.triu_indices(196, 196, 1)
    group = torch.arange(196)
    for rank in distance[pairs[0], pairs[1]].argsort().tolist():
        one, other = group[pairs[:, rank]].tolist()
        group[group == one] = other
        if len(group.unique()) == 98:
            break
    assert golden.same_partition(group[None], order.replay(history, len(history.steps))[None])


def test_top_k_prunes_the_least_attended_first(vit, images):
    views = []
    model = atc.wrap(vit, "topk", 0.5, blocks=(4,))
    model.reducers["4"].register_forward_pre_hook(lambda _, args: views.append(args[0]))
    (history,) = order.histories(model, images[:1])
    attention = views[0].cls_attn[0].mean(0)
    assert (history.steps[:, 1] == -1).all()
    pruned = attention[torch.from_numpy(history.steps[:, 0])]
    assert (pruned.diff() >= 0).all()
    assert pruned.max() <= attention.topk(98).values.min()


def test_moments_divide_stages_evenly():
    marks = (order.Mark(4, 98, 98), order.Mark(7, 49, 147))
    history = order.History((14, 14), np.zeros((147, 2), dtype=int), marks)
    assert order.moments(history, 2) == [0, 49, 98, 122, 147]
    assert order.moments(order.History((2, 2), np.zeros((0, 2), dtype=int), ()), 3) == [0]


def test_the_model_is_left_without_hooks(vit, images):
    model = atc.wrap(vit, "tome", 0.5, clamp=True)
    order.histories(model, images[:1])
    assert not any(reducer._forward_pre_hooks for reducer in model.reducers.values())

"""Radial patterns against rings counted patch by patch, the counts that schedules give them, the authors' numbers."""

import math

import numpy as np
import pytest
import timm
import torch

import atc
from atc.bench.reducer_share import reducers_share
from atc.core import Constant, Linear, Stage, Stages
from reducers.radial import Radial
from tests import golden
from tests.reducers.views import random_view

NORMS = ("l1", "l2", "linf")


def distance(norm, row, column, grid):
    """Of one patch from the centre, in half patches."""
    down, right = abs(2 * row - (grid[0] - 1)), abs(2 * column - (grid[1] - 1))
    return {"l1": down + right, "l2": down**2 + right**2, "linf": max(down, right)}[norm]


def distances(norm, grid):
    return [distance(norm, row, column, grid) for row in range(grid[0]) for column in range(grid[1])]


def rings(norm, grid):
    """Counts of whole rings, ascending."""
    found = distances(norm, grid)
    return [sum(one <= limit for one in found) for limit in sorted(set(found))]


def nearest(counts, asked):
    return min(counts, key=lambda count: (abs(count - asked), count))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("grid", [(14, 14), (7, 7), (24, 24), (5, 12), (12, 5), (1, 9), (1, 1), (37, 37)])
def test_counts_are_of_whole_rings(norm, grid):
    assert list(Radial.possible_counts(grid, norm=norm)) == rings(norm, grid)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("grid", [(14, 14), (7, 7), (5, 12)])
def test_keeps_the_innermost_in_order(norm, grid):
    found, patches = distances(norm, grid), grid[0] * grid[1]
    counts = rings(norm, grid)
    for before, keep in zip([patches, *counts[:1:-1]], counts[-2::-1], strict=False):
        inside = [p for p in range(patches) if found[p] <= sorted(found)[before - 1]]
        assert len(inside) == before
        view = random_view(n=before)._replace(grid=grid)
        plan = Radial(Stage(4, 8, keep), norm=norm)(view, keep)
        expected = [slot for slot, p in enumerate(inside) if found[p] <= sorted(found)[keep - 1]]
        assert plan.indices.tolist() == [expected] * 2


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("rate", [0.9, 0.8, 0.7, 0.6, 0.5, 0.35, 0.25, 0.1])
@pytest.mark.parametrize("grid", [(14, 14), (24, 24), (6, 11)])
def test_the_count_nearest_to_the_nominal_one(norm, rate, grid):
    patches = grid[0] * grid[1]
    counts = Stages(rate).resolve(patches, 12, possible=Radial.possible_counts(grid, norm=norm))
    nominal = [max(1, int(patches * rate**stage)) for stage in (1, 2, 3)]
    assert [count.target for count in counts] == nominal
    assert [count.keep for count in counts] == [nearest(rings(norm, grid), asked) for asked in nominal]
    assert [count.rate for count in counts] == pytest.approx([rate**stage for stage in (1, 2, 3)])


RELEASED = {
    "l1": {0.9: [172, 156, 136], 0.7: [136, 92, 68], 0.5: [92, 40, 24], 0.25: [40, 12, 4]},
    "l2": {0.9: [176, 156, 140], 0.7: [140, 96, 68], 0.5: [96, 52, 24], 0.25: [52, 12, 4]},
    "linf": {0.9: [196, 144, 144], 0.7: [144, 100, 64], 0.5: [100, 36, 16], 0.25: [36, 16, 4]},
}


@pytest.mark.parametrize(("norm", "rate"), [(norm, rate) for norm in NORMS for rate in RELEASED[norm]])
def test_counts_as_released(norm, rate):
    possible = Radial.possible_counts((14, 14), norm=norm, as_released=True)
    for schedule in (Stages(rate), Stages(rate, as_released=True)):  # without a catch-up
        assert [count.keep for count in schedule.resolve(196, 12, possible=possible)] == RELEASED[norm][rate]


def test_equally_near_counts_become_the_smaller():
    counts = Stages(keep=[120, 50, 26]).resolve(196, 12, possible=[16, 36, 100, 140, 196])
    assert [count.keep for count in counts] == [100, 36, 16]


@pytest.mark.parametrize("schedule", [Constant(8), Linear(8), Constant(16)])
@pytest.mark.parametrize("norm", NORMS)
def test_every_block_schedules_follow_what_is_asked_for(norm, schedule):
    asked, expected = 196, []
    for removed in schedule.removed(12):
        asked -= removed
        expected.append(nearest(rings(norm, (14, 14)), asked))
    counts = schedule.resolve(196, 12, possible=Radial.possible_counts((14, 14), norm=norm))
    assert [count.keep for count in counts] == expected


def test_more_removals_than_tokens_are_refused_unless_clamped():
    possible = Radial.possible_counts((4, 4), norm="l2")
    with pytest.raises(ValueError, match=r"cannot leave -4 of 6 tokens at block 2: it reaches 4 at the fewest"):
        Constant(10).resolve(16, 3, possible=possible)
    assert [c.keep for c in Constant(10, clamp=True).resolve(16, 3, possible=possible)] == [4, 4, 4]


def reduced(name, rate=0.5, size=64, **options):
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=size, depth=4, num_classes=5, dynamic_img_size=True)
    return atc.wrap(vit.eval(), name, rate, blocks=(2, 3), **options)


@pytest.mark.parametrize("norm", NORMS)
def test_images_of_other_sizes_have_rings_of_their_own(norm):
    model = reduced(f"radial_{norm}")
    for height, width in ((64, 64), (96, 96), (64, 112), (112, 64), (384, 384)):
        grid = (height // 16, width // 16)
        with torch.no_grad():
            model(torch.rand(1, 3, height, width))
        patches = grid[0] * grid[1]
        expected = [nearest(rings(norm, grid), max(1, int(patches * 0.5**stage))) for stage in (1, 2)]
        left = {stage.block: stage.tokens_out for stage in model.trace}
        assert [left.get(2, patches), left.get(3, left.get(2, patches))] == expected
        found = distances(norm, grid)
        held = (model.trace[-1].source[0] >= 0).tolist()
        assert held == [one <= sorted(found)[expected[-1] - 1] for one in found]


def test_where_a_ring_keeps_everything_nothing_is_removed():
    model = reduced("radial_linf", 0.9, 224)
    assert [count.keep for count in model.stage_counts] == [196, 144]
    with torch.no_grad():
        model(torch.rand(2, 3, 224, 224))
        assert [(stage.block, stage.tokens_out) for stage in model.trace] == [(3, 144)]
        assert model.tokens_per_block() == [196, 196, 144, 144]
        model(torch.rand(2, 3, 384, 384))  # where the first stage removes some
    assert [(stage.block, stage.tokens_out) for stage in model.trace] == [(2, 484)]


def test_one_notice_says_what_is_left():
    assert reduced("radial_linf", 0.9, 224).notices == [
        "Radial can leave certain counts only: 196, 144 tokens at blocks 2, 3, the nearest to those asked for, 176, 158"
    ]
    assert reduced("radial_linf", 1.0).notices == []


def test_rings_may_be_learned_through_after_an_inference():
    """What is kept between forwards is no tensor of the inference mode."""
    model = reduced("radial_l1", size=80)
    with torch.inference_mode():
        model(torch.rand(2, 3, 80, 80))
    model.train()(torch.rand(2, 3, 80, 80)).sum().backward()
    assert all(math.isfinite(float(p.grad.sum())) for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("as_released", [False, True])
def test_compiled_whole(as_released):
    model, images = reduced("radial_l2", as_released=as_released), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(images)
        found = torch.compile(model, backend="eager", fullgraph=True)(images)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("norm", NORMS)
def test_golden_logits(norm):
    model = atc.wrap(golden.vit(), f"radial_{norm}", 0.5, as_released=True)
    with torch.no_grad():
        logits = model(golden.images()).numpy()
    expected = golden.outputs("stages_all_methods")[f"heuristic_{norm}|r=0.5|logits"]
    np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)
    assert model.trace.tokens() == RELEASED[norm][0.5]


def test_the_share_of_time_counts_stages_that_reduce():
    assert 0 < reducers_share(reduced("radial_linf", 0.9, 224), torch.rand(1, 3, 224, 224)) < 1

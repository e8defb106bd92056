"""Pruning in the adapter, written out: one value for each patch, which only blocks that hold the patch change."""

import pytest
import torch
from torch.nn import functional as F

import atc
from atc.dense.interactions import as_maps, pyramid_grids
from tests.dense.adapters import adapter, lively, vit

SMALL = {"embed_dim": 48, "num_heads": 3, "depth": 4}
GRID = 6, 10
METHODS = ["random", "radial_l2"]  # after attention, and before the block


def pruned(name):
    torch.manual_seed(0)
    made = lively(adapter(name, 0.5, (2, 3), vit(**SMALL))).double()
    return made, torch.randn(2, 3, 96, 160).double()


def run_blocks(model, patches, kept, exchange=None):
    """[N0, C] the values of all patches of an image after every block, a block over the patches that are left.

    Args:
        model: wrapped.
        patches: ``[N0, C]`` that enter.
        kept: by block, which patches are left from there on.
        exchange: from a block and all values before it to those that enter it.
    """
    full, alive, before = patches.clone(), list(range(len(patches))), model.method.site == "before_block"
    for number, block in enumerate(model.host.blocks, start=1):
        if exchange is not None:
            full = exchange(number, full)
        if before:
            alive = kept.get(number, alive)
        tokens = full[alive]
        full = full.clone()
        full[alive] = tokens + block.attn(block.norm1(tokens[None]))[0]
        alive = kept.get(number, alive)
        tokens = full[alive]
        full[alive] = tokens + block.mlp(block.norm2(tokens[None]))[0]
        yield full


def kept_of(model, image):
    return {stage.block: (stage.source[image] >= 0).nonzero().flatten().tolist() for stage in model.trace}


def resized(patches, scale):
    return F.interpolate(patches, scale_factor=scale, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("name", METHODS)
@torch.no_grad()
def test_a_pyramid_from_pruned_patches(name):
    made, images = pruned(name)
    maps = made(images)
    assert [stage.tokens_out for stage in made.trace] != [60, 60]
    for number, image in enumerate(images):
        first, coarse = made.spm(image[None])
        state = {"pyramid": torch.cat([part + level for part, level in zip(coarse, made.level_embed, strict=True)], 1)}

        def exchange(block, full, state=state):
            if block > 1:
                extract(block - 1, full, state)
            return made.interactions[block - 1].injector(full[None], state["pyramid"], GRID)[0]

        def extract(block, full, state):
            for extractor in made.interactions[block - 1].extractors():
                state["pyramid"] = extractor(state["pyramid"], full[None], GRID)

        patches = made.host.model(image[None])[0]
        *_, full = run_blocks(made, patches, kept_of(made, number), exchange)
        extract(4, full, state)
        second, third, fourth = as_maps(state["pyramid"], pyramid_grids(GRID))
        (x,) = as_maps(full[None], [GRID])
        levels = (
            made.up(second) + first + resized(x, 4.0),
            second + resized(x, 2.0),
            third + x,
            fourth + resized(x, 0.5),
        )
        norms = made.norm1, made.norm2, made.norm3, made.norm4
        for level, (norm, wanted) in enumerate(zip(norms, levels, strict=True)):
            torch.testing.assert_close(maps[str(level)][number], norm(wanted)[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", METHODS)
@torch.no_grad()
def test_feature_maps_of_a_wrapped_vit(name):
    torch.manual_seed(0)
    host = vit(**SMALL, img_size=(96, 160), class_token=False, global_pool="avg").double().eval()
    model, images = atc.wrap(host, name, 0.5, blocks=(2, 3)), torch.randn(2, 3, 96, 160).double()
    last, found = model.forward_intermediates(images)
    assert last.shape[1] < 60
    for number, image in enumerate(images):
        patches = host._pos_embed(host.patch_embed(image[None]))[0]
        wanted = list(run_blocks(model, patches, kept_of(model, number)))
        assert len(found) == len(wanted) == 4
        for one, full in zip(found, wanted, strict=True):
            torch.testing.assert_close(one[number].flatten(1).T, full, rtol=0, atol=1e-11)

"""What a model costs, against the formula."""

import pytest
import torch

import atc
from atc.cost.flops import gflops_per_image
from atc.cost.images_per_second import images_per_second
from atc.vit.backbones import digits


def products(tokens_attention: int, tokens_mlp: int, width: int = 48) -> int:
    """Operations of one block: qkv, the two attention products, proj; the MLP of four times the width."""
    t, m = tokens_attention, tokens_mlp
    return 2 * (3 * t * width**2 + 2 * t * t * width + t * width**2 + 8 * m * width**2)


def test_every_product_is_counted_attention_included() -> None:
    images = torch.randn(2, 3, 28, 28)
    ends = 2 * 49 * 48 * (3 * 4 * 4) + 2 * 48 * 10  # patches in, classes out
    vit = digits(pretrained=False).eval()
    assert gflops_per_image(vit, images) * 1e9 == pytest.approx(ends + 12 * products(50, 50), abs=0.5)
    # Pruning needs no products of its own; a reducing block still attends with all tokens.
    model = atc.wrap(vit, reducer="random", keep_rate=0.5)
    blocks = [(50, 50)] * 3 + [(50, 25)] + [(25, 25)] * 2 + [(25, 13)] + [(13, 13)] * 2 + [(13, 7)] + [(7, 7)] * 2
    assert gflops_per_image(model, images) * 1e9 == pytest.approx(ends + sum(products(*b) for b in blocks), abs=0.5)


def test_modes_are_left_as_they_were() -> None:
    vit, images = digits(pretrained=False).train(), torch.randn(2, 3, 28, 28)
    gflops_per_image(vit, images)
    assert images_per_second({"dense": vit}, images, seconds=0.01)["dense"] > 0
    assert vit.training

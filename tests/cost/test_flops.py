"""Counted operations against arithmetic."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import atc
from atc.core import Stages
from atc.cost.flops import OPAQUE, gflops_by_formula, gflops_per_image
from tests import golden
from tests.reducers.kinds import Padded


def gflops(reducer: str, **settings: object) -> float:
    model = atc.wrap(golden.vit(dtype=torch.float32), reducer, **settings)
    return gflops_per_image(model, golden.images(torch.float32)[:2])


def test_a_dense_vit():
    n, c, depth = 197, 48, 12
    block = n * c * 3 * c + 2 * n * n * c + n * c * c + 2 * n * c * 4 * c
    patches, head = 196 * 3 * 16 * 16 * c, c * 10
    assert gflops("none") == 2 * (depth * block + patches + head) / 1e9


def test_distances_between_tokens_are_part_of_the_price():
    pruned, merged = (gflops(name, keep_rate=0.5) for name in ("topk", "atc_average"))
    cls_rows = sum(n * 48 for n in (197, 99, 50))  # Top-K's own price: one row of attention logits a stage
    pairs = sum(n * n * 16 for n in (196, 98, 49))
    assert merged - pruned == pytest.approx(2 * (pairs - cls_rows) / 1e9)


def test_euclidean_distances_are_part_of_the_price_too():
    model = atc.wrap(golden.vit(dtype=torch.float32), "dpc_knn", 0.5, reducer_args={"equal_weight": True})
    price = gflops_per_image(model, golden.images(torch.float32)[:2]) - gflops_by_formula(model)
    assert price == pytest.approx(2 * sum(n * n * 48 for n in (196, 98, 49)) / 1e9)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("tokens", [5, 196])
def test_euclidean_distances_are_counted_once(tokens, mode):
    x = torch.randn(2, tokens, 8)
    with FlopCounterMode(display=False, custom_mapping=OPAQUE) as counter, mode():
        torch.cdist(x, x)
    assert counter.get_total_flops() == 2 * 2 * tokens * tokens * 8


def test_padding_costs_an_image_nothing():
    vit = golden.vit(dtype=torch.float32)
    images = golden.images(torch.float32)
    padded = atc.wrap(vit, Padded, 0.5)
    counted, formula = gflops_per_image(padded, images), gflops_by_formula(padded)
    counts = [[stage.real(image) for stage in padded.trace] for image in range(len(images))]
    assert len({tuple(one) for one in counts}) > 1
    alone = []
    for image, keep in enumerate(counts):
        tight = atc.wrap(vit, Padded, schedule=Stages(keep=keep))
        alone.append(gflops_per_image(tight, images[image : image + 1]))
        assert [stage.real(0) for stage in tight.trace] == keep
    assert formula == pytest.approx(sum(alone) / len(alone), rel=1e-9)  # the mean of costs, not the cost of the mean
    assert counted == pytest.approx(formula, rel=1e-9)
    assert gflops_by_formula(padded, padded=True) > formula

"""How many operators a forward dispatches: on a GPU, with few images, each of them costs a launch."""

from collections import Counter

import pytest
import timm
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import atc
from atc.core import checking


class Count(TorchDispatchMode):
    """Counts the operators that are dispatched, views included."""

    def __init__(self):
        super().__init__()
        self.names = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names[str(function)] += 1
        return function(*args, **(kwargs or {}))


def dispatched(model, images):
    with torch.no_grad(), Count() as count:
        model(images)
    return count.names


@pytest.mark.parametrize("name", ["deit_small_patch16_224", "vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224"])
def test_a_wrapped_dense_model_dispatches_no_more_than_timms_own(name):
    vit = timm.create_model(name, depth=2, img_size=56).eval()
    images = torch.rand(1, 3, 56, 56)
    of_timm = dispatched(vit, images)
    wrapped = dispatched(atc.wrap(vit, "none"), images)
    assert wrapped.total() <= of_timm.total(), wrapped - of_timm


# 12 operators at most are wanted of a stage, views included, and 2 of the size bias of a later block
@pytest.mark.parametrize(
    ("name", "stage", "bias"),
    [("atc_average", 8, 2), ("tome", 8, 2), ("topk", 12, 0), ("random", 3, 0), ("radial_l2", 3, 0), ("evit", 17, 0)],
)
def test_what_a_stage_adds_and_the_size_bias_of_a_later_block(name, stage, bias, monkeypatch):
    monkeypatch.setattr(checking, "_ALWAYS", False)  # values of plans are looked at in tests only
    vit = timm.create_model("deit_small_patch16_224").eval()
    images = torch.rand(1, 3, 224, 224)
    dense = dispatched(vit, images).total()
    model = atc.wrap(vit, name, 0.5)
    model(images)  # fixed positions are computed once
    reduced = dispatched(model, images).total()
    assert reduced <= dense + 3 * stage + 8 * bias


def test_what_only_traces_read_is_computed_when_it_is_read(monkeypatch):
    monkeypatch.setattr(checking, "_ALWAYS", False)
    model = atc.wrap(timm.create_model("deit_tiny_patch16_224", depth=4).eval(), "topk", 0.5, [2, 3, 4])
    assert "aten.scatter.src" not in dispatched(model, torch.rand(1, 3, 224, 224))  # labels of a pruning
    with Count() as count:
        first = model.trace
    assert count.names["aten.scatter.src"] == 3
    assert model.trace is first

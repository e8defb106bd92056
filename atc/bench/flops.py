"""Floating-point operations of a real forward."""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import atc.ops.linkage  # noqa: F401 (registers the operator counted below)


def _cosine_distance_flops(keys: torch.Size, *_: object, **__: object) -> int:
    """Every pair of the N tokens: keys [B, N, D]."""
    batch, tokens, width = keys
    return 2 * batch * tokens * tokens * width


# An operator of our own is one opaque call to the counter: it has to be told what is inside.
_OWN = {torch.ops.atc.cosine_distance: _cosine_distance_flops}


def gflops_per_image(model: nn.Module, images: Tensor) -> float:
    """GFLOPs that `model` spends per image, counted by PyTorch in a forward of `images` [B, 3, H, W].

    Matrix products and convolutions count, attention included; one multiply-add is two operations (papers that
    speak of GFLOPs often mean half of this). What is not a product, such as a linkage, does not count.
    """
    training = model.training
    # The math backend spells attention out as matrix products, which are counted on every device.
    counter = FlopCounterMode(display=False, custom_mapping=_OWN)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
        model.eval()(images)
    model.train(training)
    return counter.get_total_flops() / len(images) / 1e9

"""Floating-point operations of a real forward."""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def gflops_per_image(model: nn.Module, images: Tensor) -> float:
    """GFLOPs that `model` spends per image, counted by PyTorch in a forward of `images` [B, 3, H, W].

    Matrix products and convolutions count, attention included; one multiply-add is two operations (papers that
    speak of GFLOPs often mean half of this). What is not a product, such as a linkage, does not count.
    """
    training = model.training
    # The math backend spells attention out as matrix products, which are counted on every device.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.eval()(images)
    model.train(training)
    return counter.get_total_flops() / len(images) / 1e9

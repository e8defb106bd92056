"""The initial values of ViT-Adapter's own layers."""

import math

import torch
from torch import nn

from atc.dense.deformable import DeformableAttention


def initialise(*parts: nn.Module) -> None:
    """Draw the weights of all layers as ViT-Adapter does; those of deformable attention as Deformable DETR does.

    Args:
        parts: modules whose layers are meant.
    """
    for part in parts:
        part.apply(_initialise)
    for part in parts:
        for module in part.modules():
            if isinstance(module, DeformableAttention):
                module.reset_parameters()


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)

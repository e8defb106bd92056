"""Small models, wrapped, and images for them."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

import atc
from tests.reducers.amounts import amount

METHODS = ("atc_average", "tome", "kmedoids", "dpc_knn", "topk", "evit", "ats", "radial_l2", "random", "none")


def vit(**settings: Any) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, depth=4, embed_dim=24, num_heads=2, num_classes=5, **settings
    ).eval()
    return made


def wrapped(name: str = "atc_average", model: nn.Module | None = None) -> atc.ReducedViT:
    return atc.wrap(vit() if model is None else model, name, blocks=(2, 3), **amount(name))


def images(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(1))

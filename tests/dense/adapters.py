"""The golden ViT-Adapter and its images."""

from typing import Any

import numpy as np
import timm
import torch

import atc
from tests import golden


def vit(**settings: Any) -> torch.nn.Module:
    settings = {"img_size": 224, "patch_size": 16, "embed_dim": 48, "depth": 12, "num_heads": 3} | settings
    return timm.models.vision_transformer.VisionTransformer(num_classes=0, **settings)


def weights() -> dict[str, torch.Tensor]:
    return {k[2:]: torch.from_numpy(v) for k, v in golden.outputs("detection").items() if k.startswith("w.")}


def adapter(
    reducer: Any = "none",
    keep_rate: Any = None,
    blocks: Any = (4, 7, 10),
    model: torch.nn.Module | None = None,
    **more: Any,
) -> atc.dense.ViTAdapter:
    model = vit() if model is None else model
    return atc.dense.ViTAdapter(model, reducer, keep_rate, blocks, conv_inplane=16, deform_heads=3, **more).eval()


def released(reducer: Any = "none", keep_rate: Any = None, **settings: Any) -> atc.dense.ViTAdapter:
    """The golden adapter in float64."""
    made = adapter(reducer, keep_rate, **settings)
    made.load_released(weights())
    return made.double()


def image(name: str) -> torch.Tensor:
    """[1, 3, H, W], normalised, then padded with zeros."""
    outputs = golden.outputs("detection")
    mean = np.array([123.675, 116.28, 103.53])
    std = np.array([58.395, 57.12, 57.375])
    pixels = torch.from_numpy((outputs[f"{name}|image"] - mean) / std).permute(2, 0, 1)
    height, width = outputs[f"{name}|padded"].tolist()
    padded = torch.zeros(1, 3, height, width, dtype=torch.float64)
    padded[0, :, : pixels.shape[1], : pixels.shape[2]] = pixels
    return padded


def lively(made: atc.dense.ViTAdapter) -> atc.dense.ViTAdapter:
    """The same with injectors that do something, which they do not at first."""
    for interaction in made.interactions:
        torch.nn.init.normal_(interaction.injector.gamma)
    return made

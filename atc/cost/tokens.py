"""Seeded token features to cluster: like those of an image, or of nothing at all."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def smooth(batch: int, tokens: int, channels: int = 64, seed: int = 0) -> Tensor:
    """Slowly varying fields, eight regions with features of their own, a common offset, and noise.

    Returns:
        ``[batch, tokens, channels]`` float32, in reading order of the squarest grid.
    """
    random = torch.Generator().manual_seed(seed)
    rows = next(rows for rows in range(int(tokens**0.5), 0, -1) if tokens % rows == 0)
    columns = tokens // rows
    coarse = torch.randn(batch, channels, 4, 4, generator=random)
    field = F.interpolate(coarse, size=(rows, columns), mode="bicubic", align_corners=False)
    down, across = torch.meshgrid(torch.linspace(0, 1, rows), torch.linspace(0, 1, columns), indexing="ij")
    place = torch.stack([down, across], -1).view(1, tokens, 1, 2)
    centre = torch.rand(batch, 1, 8, 2, generator=random)
    region = (place - centre).square().sum(-1).argmin(-1)  # [batch, tokens]
    feature = torch.randn(batch, 8, channels, generator=random)
    return (
        feature.gather(1, region.unsqueeze(-1).expand(-1, -1, channels))
        + 0.8 * field.flatten(2).mT
        + 0.7 * torch.randn(batch, 1, channels, generator=random)
        + 0.25 * torch.randn(batch, tokens, channels, generator=random)
    )


def independent(batch: int, tokens: int, channels: int = 64, seed: int = 0) -> Tensor:
    """Standard normal features: ``[batch, tokens, channels]`` float32."""
    return torch.randn(batch, tokens, channels, generator=torch.Generator().manual_seed(seed))


DATA = {"smooth": smooth, "independent": independent}

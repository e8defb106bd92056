"""Distances between tokens."""

import torch
from torch import Tensor


def cosine_distance(keys: Tensor) -> Tensor:
    """One minus the cosine of every pair of tokens: [B, N, D] float -> [B, N, N], float32 or float64.

    Half precision is raised to float32 and autocast is switched off: partitions are far more sensitive to the
    precision of distances than to anything else. A zero vector is at distance 1 from every token, itself
    included. Not differentiable into a partition, so callers hold no gradient.
    """
    keys = keys.to(torch.promote_types(keys.dtype, torch.float32))
    with torch.autocast(keys.device.type, enabled=False):
        unit = keys / keys.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        return 1 - unit @ unit.transpose(1, 2)

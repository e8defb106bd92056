"""Euclidean distances of tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from atc.ops.linkage.cosine import check_keys


def euclidean_distance(features: Tensor) -> Tensor:
    """The length of the difference of all pairs of tokens.

    In float32 at least whatever autocast says, and from the differences themselves, so that equal tokens have distance
    0. Not differentiable.

    Args:
        features: ``[B, N, D]`` floating.

    Returns:
        ``[B, N, N]`` float32, or float64 for float64 features.

    Raises:
        ValueError: ``features`` is not a dense floating tensor of three dimensions.

    Examples:
        >>> euclidean_distance(torch.tensor([[[0.0, 0.0], [3.0, 4.0]]])).tolist()
        [[[0.0, 5.0], [5.0, 0.0]]]
    """
    check_keys(features)
    with torch.autocast(features.device.type, enabled=False):
        wide = features.detach() if features.dtype == torch.float64 else features.detach().float()
        return torch.cdist(wide, wide, compute_mode="donot_use_mm_for_euclid_dist")

"""Group sums, written so that they are obviously right."""

from __future__ import annotations

import torch
from torch import Tensor


def group_sum(x: Tensor, labels: Tensor, num_groups: int, weight: Tensor | None = None) -> Tensor:
    """The sum of ``weight * x`` over the tokens of each group, one token at a time, in float64."""
    out = torch.zeros(x.shape[0], num_groups, *x.shape[2:], dtype=torch.float64)
    for image in range(x.shape[0]):
        for token in range(x.shape[1]):
            group = int(labels[image, token])
            if group >= 0:
                factor = 1.0 if weight is None else weight[image, token].double()
                out[image, group] += factor * x[image, token].double()
    return out

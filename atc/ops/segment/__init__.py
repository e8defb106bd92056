"""Weighted group sums: the arithmetic of every token merge."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["group_sum"]


def group_sum(x: Tensor, labels: Tensor, num_groups: int, weight: Tensor | None = None) -> Tensor:
    """Sum tokens by group: ``out[b, k] = sum over n with labels[b, n] == k of weight[b, n] * x[b, n]``.

    Differentiable in ``x`` and ``weight``. Half-precision input is summed in float32 and rounded once.

    Args:
        x: ``[B, N, C]`` or ``[B, N]``, floating.
        labels: ``[B, N]`` int64 in ``[-1, num_groups)``; tokens labelled -1 are dropped. The range
            is the caller's promise: checking it would make a GPU wait for the host.
        num_groups: K, the number of groups. A group without tokens sums to 0.
        weight: ``[B, N]``; None means 1 each.

    Returns:
        ``[B, K, C]`` or ``[B, K]``, of ``x``'s dtype.

    Raises:
        ValueError: shapes that do not belong together, labels that are not int64, or ``num_groups < 0``.
    """
    _check(x, labels, num_groups, weight)
    sum_dtype = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    batch = x.shape[0]
    values = x.to(sum_dtype)
    if weight is not None:
        factor = weight.to(sum_dtype)
        values = values * (factor.unsqueeze(-1) if x.ndim == 3 else factor)
    # One bin for each group of each image, and a last one that collects what is dropped. A flat row index
    # keeps index_add's index at B*N numbers, where scatter_add would want B*N*C of them.
    bins = batch * num_groups
    offset = torch.arange(batch, device=labels.device).unsqueeze(1) * num_groups
    index = torch.where(labels < 0, bins, labels + offset).flatten()
    out = values.new_zeros((bins + 1, *x.shape[2:]))
    out = out.index_add(0, index, values.flatten(0, 1))
    return out[:bins].unflatten(0, (batch, num_groups)).to(x.dtype)


def _check(x: Tensor, labels: Tensor, num_groups: int, weight: Tensor | None) -> None:
    if x.ndim not in (2, 3) or not x.is_floating_point():
        raise ValueError(f"x must be floating [B, N, C] or [B, N], got {x.dtype} {list(x.shape)}")
    if labels.dtype != torch.int64 or labels.shape != x.shape[:2]:
        raise ValueError(f"labels must be int64 {list(x.shape[:2])}, got {labels.dtype} {list(labels.shape)}")
    if weight is not None and weight.shape != x.shape[:2]:
        raise ValueError(f"weight must be {list(x.shape[:2])}, got {list(weight.shape)}")
    if num_groups < 0:
        raise ValueError(f"num_groups must be at least 0, got {num_groups}")

"""Weighted group sums: the arithmetic of every token merge."""

from __future__ import annotations

import torch
from torch import Tensor

from atc.ops.arguments import integer
from atc.ops.merge.checks import check_merge
from atc.ops.merge.operator import merge_operator, needs_plain
from atc.ops.merge.sums import add_by_bin, bins_of

__all__ = ["group_sum"]


def group_sum(x: Tensor, labels: Tensor, num_groups: int, weight: Tensor | None = None) -> Tensor:
    """Sum tokens by group: ``out[b, k] = sum over n with labels[b, n] == k of weight[b, n] * x[b, n]``.

    Differentiable in ``x`` and ``weight``. Input of half precision or less is summed in float32 and rounded once. The
    same input gives the same bits every time.

    Args:
        x: ``[B, N, C]`` or ``[B, N]``, floating.
        labels: ``[B, N]`` int64 in ``[-1, num_groups)``; tokens labelled -1 are dropped. A label outside is an index
            out of range to PyTorch: an error on a CPU, and a failed assertion of the device on a GPU.
        num_groups: K, the number of groups. A group without tokens sums to 0.
        weight: ``[B, N]``; None means 1 each.

    Returns:
        ``[B, K, C]`` or ``[B, K]``, of ``x``'s dtype.

    Raises:
        ValueError: no dense tensors, shapes or devices that do not belong together, labels that are not int64 or (on a
            CPU) out of range, or ``num_groups`` no integer of 0 or more.
    """
    num_groups = integer("num_groups", num_groups, least=0)
    check_merge(x, labels, num_groups, weight, None, 0, dimensions=(2, 3))
    if x.device.type == "cuda" and not needs_plain(x, weight):
        rows = x if x.ndim == 3 else x.unsqueeze(-1)
        sums = merge_operator(rows, labels, num_groups, weight, None, 0, False, 0.0, False)[0]
        return sums if x.ndim == 3 else sums.squeeze(-1)
    sum_dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    values = x.to(sum_dtype)
    if weight is not None:
        factor = weight.to(sum_dtype)
        values = values * (factor.unsqueeze(-1) if x.ndim == 3 else factor)
    return add_by_bin(values, bins_of(labels, num_groups), labels, num_groups).to(x.dtype)

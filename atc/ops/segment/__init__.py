"""Weighted group sums: the arithmetic of every token merge."""

from __future__ import annotations

import torch
from torch import Tensor

from atc.ops.arguments import described, integer, is_floating

__all__ = ["group_sum"]


def group_sum(x: Tensor, labels: Tensor, num_groups: int, weight: Tensor | None = None) -> Tensor:
    """Sum tokens by group: ``out[b, k] = sum over n with labels[b, n] == k of weight[b, n] * x[b, n]``.

    Differentiable in ``x`` and ``weight``. Input of half precision or less is summed in float32 and rounded once.

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
    _check(x, labels, num_groups, weight)
    sum_dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    batch = x.shape[0]
    values = x.to(sum_dtype)
    if weight is not None:
        factor = weight.to(sum_dtype)
        values = values * (factor.unsqueeze(-1) if x.ndim == 3 else factor)
    # One bin for what an image drops, then one for each of its groups. A flat row index keeps index_add's index at
    # B*N numbers, where scatter_add would need B*N*C of them.
    bins = num_groups + 1
    first = torch.arange(1, batch * bins + 1, bins, device=labels.device).unsqueeze(1)
    within = labels.clamp(-1, num_groups - 1) == labels  # another image's bins are out of reach
    index = torch.where(within, labels + first, batch * bins).flatten()
    out = values.new_zeros((batch * bins, *x.shape[2:]))
    try:
        out = out.index_add(0, index, values.flatten(0, 1))
    except (IndexError, RuntimeError):
        _refuse_out_of_range(labels, num_groups)
        raise
    return out.unflatten(0, (batch, bins))[:, 1:].to(x.dtype)


def _check(x: Tensor, labels: Tensor, num_groups: int, weight: Tensor | None) -> None:
    if not is_floating(x, 2, 3):
        raise ValueError(f"x must be a dense floating tensor [B, N, C] or [B, N], got {described(x)}")
    wanted = list(x.shape[:2])
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.layout != torch.strided:
        raise ValueError(f"labels must be int64 {wanted}, got {described(labels)}")
    if labels.shape != x.shape[:2]:
        raise ValueError(f"labels must be int64 {wanted}, got {described(labels)}")
    if weight is not None and (not is_floating(weight, 2) or weight.shape != x.shape[:2]):
        raise ValueError(f"weight must be floating {wanted}, got {described(weight)}")
    for name, other in (("labels", labels), ("weight", weight)):
        if other is not None and other.device != x.device:
            raise ValueError(f"{name} must be on the device of x, {x.device}, got {other.device}")


def _refuse_out_of_range(labels: Tensor, num_groups: int) -> None:
    outside = (labels < -1) | (labels >= num_groups)
    if outside.any():
        image, token = outside.nonzero()[0].tolist()
        wrong = int(labels[image, token])
        raise ValueError(f"labels must lie in [-1, {num_groups}), got {wrong} for token {token} of image {image}")

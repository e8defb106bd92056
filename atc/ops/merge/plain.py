"""Merging and selecting in operators of PyTorch: what a CPU does, what is exported, what others are compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from atc.ops.merge.sums import add_by_bin, bins_of


def merge_parts(
    x: Tensor,
    labels: Tensor,
    num_groups: int,
    weight: Tensor | None,
    size: Tensor | None,
    prefix: int,
    average: bool,
    eps: float,
    empty_groups: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """The arithmetic of a merge, before it is put together.

    Args:
        x: as for `atc.ops.merge.merge`, like all that follow.
        labels: groups.
        num_groups: K.
        weight: of the tokens.
        size: of the tokens.
        prefix: P.
        average: means, not sums.
        eps: added to the sums of weights.
        empty_groups: divide by 1 where weights sum to zero.

    Returns:
        What is divided ``[B, K, C]`` and divides ``[B, K, 1]`` (None for sums) in float32 or wider, sums of weights
        ``[B, K]`` with `eps` (None for sums), and sums of sizes ``[B, K]`` (None without sizes).
    """
    patches = x[:, prefix:]
    values = patches.to(torch.promote_types(x.dtype, torch.float32))
    index = bins_of(labels, num_groups)
    sizes = None if size is None else _sums(size, index, labels, num_groups)
    total: Tensor | None = None
    divisor: Tensor | None = None
    if weight is not None:
        factor = weight.to(values.dtype)
        values = values * factor.unsqueeze(-1)
    if average:
        factor = values.new_ones(labels.shape) if weight is None else factor
        known = sizes if weight is size and sizes is not None and sizes.dtype == factor.dtype else None
        sums = add_by_bin(factor, index, labels, num_groups) if known is None else known
        total = sums + eps
        divisor = (torch.where(total == 0, 1, total) if empty_groups else total).unsqueeze(-1)
    return add_by_bin(values, index, labels, num_groups), divisor, total, sizes


def merge_plainly(
    x: Tensor,
    labels: Tensor,
    num_groups: int,
    weight: Tensor | None,
    size: Tensor | None,
    prefix: int,
    average: bool,
    eps: float,
    empty_groups: bool,
) -> tuple[Tensor, Tensor | None]:
    """As `atc.ops.merge.merge`, differentiable forwards and backwards and under every transform of `torch.func`."""
    sums, divisor, _, sizes = merge_parts(x, labels, num_groups, weight, size, prefix, average, eps, empty_groups)
    merged = (sums if divisor is None else sums / divisor).to(x.dtype)
    return (torch.cat([x[:, :prefix], merged], dim=1) if prefix else merged), sizes


def select_plainly(x: Tensor, indices: Tensor, size: Tensor | None, prefix: int) -> tuple[Tensor, Tensor | None]:
    """As `atc.ops.merge.select`, under every transform of `torch.func`."""
    patches = x[:, prefix:] if prefix else x
    chosen = patches.gather(1, indices.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
    sizes = None if size is None else size.gather(1, indices)
    return (torch.cat([x[:, :prefix], chosen], dim=1) if prefix else chosen), sizes


def _sums(size: Tensor, index: Tensor, labels: Tensor, num_groups: int) -> Tensor:
    wide = size.to(torch.promote_types(size.dtype, torch.float32))
    return add_by_bin(wide, index, labels, num_groups).to(size.dtype)

"""The ``torch`` backend: one merge a step for the whole batch, on any device, never waiting for it.

The number of steps is N - K, known beforehand, so nothing is read back from the device. Each step reads all
N x N keys; a compiled backend does less work, this one works everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atc.ops.linkage.sort_keys import key_of, last_key, value_of


def merge_batch(
    distance: Tensor, keep: int, method: str, neighbours: Tensor | None = None, once: bool = False
) -> tuple[Tensor, Tensor]:
    """Merge the closest two clusters of each image until ``keep`` are left.

    Args:
        distance: ``[B, N, N]`` float32 or float64; only the part above the diagonal is read.
        keep: clusters to leave, at least 1; N or more merges nothing.
        method: single, complete, average or ward.
        neighbours: ``[B, N, N]`` bool, as in :mod:`atc.ops.linkage.among`; None: all clusters may merge.
        once: a union merges no further; merges that are then not possible are those of the last slot with itself.

    Returns:
        merges ``[B, N-K, 2]`` int64, (slot that disappears, larger slot that stays) in order, and heights
        ``[B, N-K]`` float64.
    """
    batch, tokens, _ = distance.shape
    steps = max(tokens - keep, 0)
    merges = torch.empty(batch, steps, 2, dtype=torch.int64, device=distance.device)
    heights = torch.empty(batch, steps, dtype=torch.float64, device=distance.device)
    if batch == 0 or steps == 0:
        return merges, heights

    above = distance.triu(1)
    value = above + above.mT
    if method in ("average", "ward"):
        value = value.double()
    key = key_of(value)
    none = last_key(key)
    key.diagonal(dim1=1, dim2=2).fill_(none)
    if method in ("single", "complete"):
        value = key  # smallest and largest need the order only, and integers put NaN where it belongs

    size = torch.ones(batch, tokens, dtype=torch.float64, device=distance.device)
    image = torch.arange(batch, device=distance.device)
    beside = None if neighbours is None else neighbours.triu(1) | neighbours.triu(1).mT
    for step in range(steps):
        nearest = key.flatten(1).argmin(1)  # the first of equals: row-major is the order of (min, max slot)
        if beside is not None:
            first = torch.where(beside, key, none).flatten(1).argmin(1)
            among = key.flatten(1).gather(1, first[:, None]) != none
            among &= beside.flatten(1).gather(1, first[:, None])
            nearest = torch.where(among[:, 0], first, tokens * tokens - 1 if once else nearest)
        low, high = nearest // tokens, nearest % tokens
        merges[:, step, 0], merges[:, step, 1] = low, high
        heights[:, step] = value_of(key[image, low, high])

        row = joined(value[image, low], value[image, high], size, low[:, None], high[:, None], method)
        size[image, high] += size[image, low]
        if method == "average":
            row_key = key_of(row / (size * size[image, high, None]))
        else:
            row_key = row if method in ("single", "complete") else key_of(row)
        row_key = torch.where(key[image, high] == none, none, row_key)  # dead slots, and high itself
        row_key[image, low] = none
        if once:
            row_key.fill_(none)
        if beside is not None:
            of_union = beside[image, low] | beside[image, high]
            beside[image, high] = of_union
            beside[image, :, high] = of_union

        if value is not key:
            value[image, high] = row
            value[image, :, high] = row
        key[image, high] = row_key
        key[image, :, high] = row_key
        key[image, low] = none
        key[image, :, low] = none
    return merges, heights


def joined(one: Tensor, other: Tensor, size: Tensor, low: Tensor, high: Tensor, method: str) -> Tensor:
    """The new row of a slot after it has taken in another (Eqs. 2-4, arXiv 2409.11923; Ward's by Lance and Williams).

    Args:
        one: ``[B, N]`` the row of the slot that disappears.
        other: ``[B, N]`` the row of the slot that stays.
        size: ``[B, N]`` sizes of the clusters before.
        low: ``[B, 1]`` the slot that disappears.
        high: ``[B, 1]`` the slot that stays.
        method: single, complete, average (rows are sums of distances) or ward.

    Returns:
        ``[B, N]``.
    """
    if method == "single":
        return torch.minimum(one, other)
    if method == "complete":
        return torch.maximum(one, other)
    if method == "average":
        return one + other
    size_low, size_high = size.gather(1, low), size.gather(1, high)
    grown = (size_low + size) * one + (size_high + size) * other
    return (grown - size * one.gather(1, high)) / (size_low + size_high + size)

"""The ``torch`` backend for many tokens: all pairs that are each other's nearest neighbours merge in one round.

A few rounds do what takes N - K steps (Bruynooghe 1977; Muellner 2011, arXiv 1109.2378; why the merges are the same:
../README.md, "Why the results are exact", 5). After each round the host reads from the device whether another one is
needed: on a GPU it waits for that, as :mod:`atc.ops.linkage.torch.steps` does not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atc.ops.linkage.sort_keys import key_of, value_of

MOST_TOKENS_ONE_BY_ONE = 1024  # beyond, steps are too many to launch one after another on a GPU


def suits(distance: Tensor, keep: int, method: str) -> bool:
    """Whether rounds give the same merges as single steps here, and are the faster way."""
    tokens = distance.shape[1]
    if distance.device.type == "cuda":
        faster = tokens > MOST_TOKENS_ONE_BY_ONE and not torch.cuda.is_current_stream_capturing()
    else:  # on a CPU a round takes as long as some tens of steps; single linkage needs many rounds
        faster = method != "single" and tokens - keep > max(16, tokens // 3)
    return faster and (method in ("single", "complete") or (method == "average" and has_exact_sums(distance)))


def has_exact_sums(distance: Tensor) -> bool:
    """Whether float64 sums over any pairs of tokens are exact: few small multiples of 2**-24, such as cosines."""
    tokens = distance.shape[1]
    steps = distance.triu(1).double() * 2**24
    most = 2**55 / max(tokens, 1) ** 2  # N**2 / 4 pairs at most, and 2**53 steps
    return bool(((steps == steps.round()) & (steps.abs() <= most)).all())


def merge_batch(distance: Tensor, keep: int, method: str) -> tuple[Tensor, Tensor]:
    """Merge the closest two clusters of each image until ``keep`` are left; single, complete or average linkage.

    Arguments and results are those of :func:`atc.ops.linkage.torch.steps.merge_batch`.
    """
    batch, tokens, _ = distance.shape
    needed = max(tokens - keep, 0)
    above = distance.triu(1)
    value = above + above.mT
    value = value.double() if method == "average" else key_of(value)
    none = torch.iinfo(torch.int64 if method == "average" else value.dtype).max
    slot = torch.arange(tokens, device=distance.device).repeat(batch, 1)  # of each cluster
    size = torch.ones_like(slot, dtype=torch.float64)  # 0 where there is no cluster
    height = torch.full_like(slot, torch.iinfo(torch.int64).max)  # key of the merge in which a slot disappeared
    into = slot.clone()  # and the slot that took it in
    while needed and batch:
        key = value if method != "average" else key_of(value / (size[:, :, None] * size[:, None, :]))
        gone = (size == 0)[:, :, None] | (size == 0)[:, None, :] | _diagonal(key)
        nearest, neighbour = key.masked_fill(gone, none).min(2)  # the first of equals
        position = torch.arange(neighbour.shape[1], device=slot.device)
        mutual = (neighbour.gather(1, neighbour) == position) & (neighbour > position) & (size > 0)
        pairs = mutual & _open(nearest.long(), slot, height, needed)
        if not pairs.any():
            break
        high = slot.gather(1, neighbour)
        height.scatter_(1, slot, torch.where(pairs, nearest.long(), height.gather(1, slot)))
        into.scatter_(1, slot, torch.where(pairs, high, into.gather(1, slot)))
        value, slot, size = _merged(value, slot, size, pairs, neighbour, method)

    order = height.sort(stable=True, dim=1)  # by key, then by the smaller slot
    low, key = order.indices[:, :needed], order.values[:, :needed]
    merges = torch.stack([low, into.gather(1, low)], 2)
    wide = torch.int64 if method == "average" or distance.dtype == torch.float64 else torch.int32
    return merges, value_of(key.to(wide)).double()


def _open(key: Tensor, low: Tensor, height: Tensor, needed: int) -> Tensor:
    """Pairs that may be among the ``needed`` smallest merges: fewer than that many recorded ones are before them."""
    order = height.sort(stable=True, dim=1)
    last_key_kept, last_slot_kept = order.values[:, needed - 1, None], order.indices[:, needed - 1, None]
    return (key < last_key_kept) | ((key == last_key_kept) & (low < last_slot_kept))


def _merged(
    value: Tensor, slot: Tensor, size: Tensor, pairs: Tensor, neighbour: Tensor, method: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The distances, slots and sizes of what is left, without the clusters that disappeared.

    pairs: ``[B, M]`` bool, at the smaller position of each pair; neighbour: ``[B, M]`` the other.
    """
    # A union takes the larger position; a cluster without a partner is joined with itself, or with nothing.
    partner = torch.arange(slot.shape[1], device=slot.device).expand_as(slot).clone()
    image, low = pairs.nonzero(as_tuple=True)
    partner[image, neighbour[image, low]] = low
    left = (size > 0) & ~pairs
    kept = (~left).sort(stable=True, dim=1).indices[:, : int(left.sum(1).max())]
    partner = partner.gather(1, kept)
    alone = partner == kept
    rows = _joined(_rows(value, kept), _rows(value, partner), alone[:, :, None], method)
    value = _joined(_rows(rows.mT, kept), _rows(rows.mT, partner), alone[:, :, None], method)
    grown = size.gather(1, kept) + size.gather(1, partner).masked_fill(alone, 0)
    return value, slot.gather(1, kept), grown.masked_fill(~left.gather(1, kept), 0)


def _joined(one: Tensor, other: Tensor, alone: Tensor, method: str) -> Tensor:
    if method == "average":
        return torch.where(alone, one, one + other)
    return torch.minimum(one, other) if method == "single" else torch.maximum(one, other)


def _rows(value: Tensor, index: Tensor) -> Tensor:
    return value.gather(1, index[:, :, None].expand(-1, -1, value.shape[2]))


def _diagonal(matrix: Tensor) -> Tensor:
    return torch.eye(matrix.shape[1], dtype=torch.bool, device=matrix.device)

"""Greedy merging in operators that every runtime has: what an exported model computes.

One merge a step, as in the ``torch`` backend, with a number of steps known beforehand. The state is a tuple of tensors
that each step replaces, so that the steps become one loop in the exported program. Each step reads all N x N distances:
the compiled backends do far less work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from atc.ops.linkage.relabel import labels_from_parents
from atc.ops.linkage.torch.steps import joined

scan: Any
try:  # not public yet; without it the steps are written out one after the other
    from torch._higher_order_ops.scan import scan
except ImportError:
    scan = None

State = tuple[Tensor, ...]
# Ranks of an infinite distance and of NaN. float32 holds them, since constants are stored in it.
INFINITE, NOT_A_NUMBER = 2.0**126, 2.0**127


def labels_by_loop(distance: Tensor, keep: int, method: str, neighbours: Tensor | None = None) -> Tensor:
    """The labels that every backend finds, by operators that ONNX has.

    Args:
        distance: ``[B, N, N]`` float32 or float64, symmetric; from 2**126 on a number counts as infinity.
        keep: clusters to leave, at least 1; N or more is the identity.
        method: single, complete, average or ward.
        neighbours: ``[B, N, N]`` bool, symmetric, as in :mod:`atc.ops.linkage.among`; None: all clusters may merge.

    Returns:
        ``[B, N]`` int64, numbered by first appearance.
    """
    return labels_from_parents(_forest(distance, method, max(distance.shape[1] - keep, 0), neighbours=neighbours))


def labels_within_by_loop(
    distance: Tensor, threshold: float, method: str, least: int, most: int | None, valid: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The labels and counts of `atc.ops.linkage.labels_within`, by operators that ONNX has.

    Args:
        distance: as for `labels_by_loop`.
        threshold: see there, as for what follows.
        method: linkage.
        least: clusters that stay at the fewest.
        most: clusters that stay at the most.
        valid: tokens that count.
    """
    tokens = distance.shape[1]
    position = torch.arange(tokens, device=distance.device)
    real = torch.ones_like(distance[:, :, 0], dtype=torch.bool) if valid is None else valid
    apart = torch.where(real.unsqueeze(1) & real.unsqueeze(2), distance, torch.inf)

    def goes_on(height: Tensor, parent: Tensor) -> Tensor:
        left = _roots(parent, position, real)
        wanted = height <= threshold if most is None else (height <= threshold) | (left > most)
        return wanted & (left > least)

    parent = _forest(apart, method, max(tokens - least, 0), goes_on)
    return labels_from_parents(parent).masked_fill(~real, -1), _roots(parent, position, real).squeeze(1)


def _roots(parent: Tensor, position: Tensor, real: Tensor) -> Tensor:
    """``[B, 1]`` clusters of real tokens that there are."""
    return ((parent == position) & real).sum(dim=1, keepdim=True)


def _forest(
    distance: Tensor,
    method: str,
    times: int,
    goes_on: Callable[[Tensor, Tensor], Tensor] | None = None,
    neighbours: Tensor | None = None,
) -> Tensor:
    """``[B, N]`` the slot that took in each slot, or the slot itself, after so many merges.

    goes_on: from the ``[B, 1]`` distance of the next merge and the slots so far, ``[B, N]``, to ``[B, 1]`` whether an
    image makes it; None: each makes all. It does not go with neighbours.
    """
    tokens = distance.shape[1]
    # Smallest and largest need the order only, in which NaN has its place.
    value = _finite(distance) if method in ("single", "complete") else distance.double()
    position = torch.arange(tokens, device=distance.device)
    itself = position[:, None] == position[None, :]
    rank = torch.where(itself, torch.inf, _finite(value))
    parent = position + torch.zeros_like(distance[:, :, 0], dtype=torch.int64)
    size = torch.ones_like(value[:, :, 0])

    def step(state: State) -> State:
        value, rank, size, parent, *beside = state
        nearest = rank.flatten(1).argmin(dim=1, keepdim=True)  # the first of equals: least (smaller, larger slot)
        for near in beside:
            some = torch.where(near > 0, rank, torch.inf).flatten(1)
            found = ~torch.isinf(some.amin(dim=1, keepdim=True))
            nearest = torch.where(found, some.argmin(dim=1, keepdim=True), nearest)
        low, high = nearest // tokens, nearest % tokens  # [B, 1]
        at_low, at_high = position == low, position == high  # [B, N]
        row = joined(_row(value, low), _row(value, high), size, low, high, method)
        grown = size + torch.where(at_high, size.gather(1, low), 0)
        divisor = grown * grown.gather(1, high) if method == "average" else 1
        gone = torch.isinf(_row(rank, high)) | at_low
        row_rank = torch.where(gone, torch.inf, _finite(row / divisor))
        rows = torch.stack([row_rank, torch.full_like(row_rank, torch.inf)], dim=1)
        rank = _set(rank, torch.cat([high, low], dim=1), rows)
        parent = torch.where(at_low, high, parent)
        unions = [_set(near, high, (_row(near, low) + _row(near, high)).clamp_max(1).unsqueeze(1)) for near in beside]
        return _set(value, high, row.unsqueeze(1)), rank, grown, parent, *unions

    def step_or_stay(state: State) -> State:
        if goes_on is None:
            return step(state)
        goes = goes_on(state[1].flatten(1).amin(dim=1, keepdim=True), state[3])
        whole = goes.unsqueeze(-1), goes.unsqueeze(-1), goes, goes
        return tuple(map(torch.where, whole, step(state), state))

    among = () if neighbours is None else (neighbours.to(rank.dtype),)
    return _repeat(step_or_stay, (value, rank, size, parent, *among), times)[3]


def _repeat(step: Callable[[State], State], state: State, times: int) -> State:
    """The state after some steps: one loop in a program of `torch.export`."""
    if scan is None or times == 0 or not torch.compiler.is_exporting():
        for _ in range(times):
            state = step(state)
        return state

    def body(state: list[Tensor], _: Tensor) -> tuple[list[Tensor], Tensor]:
        after = [part.clone() for part in step(tuple(state))]
        return after, after[3][:, :1].clone()  # a loop has to have an output besides its state

    after, _ = scan(body, list(state), torch.zeros(times, 1, device=state[0].device))
    return tuple(after)


def _finite(distance: Tensor) -> Tensor:
    """The same order in finite numbers, NaN last; infinity is the rank of what is no pair of clusters."""
    return torch.where(torch.isnan(distance), NOT_A_NUMBER, distance.clamp_max(INFINITE))


def _row(matrix: Tensor, slot: Tensor) -> Tensor:
    """``[B, N, N]``, ``[B, 1]`` -> ``[B, N]``."""
    return matrix.gather(1, slot.unsqueeze(-1).expand(-1, 1, matrix.shape[-1])).squeeze(1)


def _set(matrix: Tensor, slots: Tensor, rows: Tensor) -> Tensor:
    """The matrix ``[B, N, N]`` with the rows and the columns of slots ``[B, S]`` replaced by ``[B, S, N]``."""
    index = slots.unsqueeze(-1).expand(rows.shape)
    return matrix.scatter(1, index, rows).scatter(2, index.transpose(1, 2), rows.transpose(1, 2))

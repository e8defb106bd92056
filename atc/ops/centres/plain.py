"""Clusters around centres in operators of PyTorch: on any device, under any transform, in exported programs."""

from __future__ import annotations

import torch
from torch import Tensor


def find_medoids(distance: Tensor, weight: Tensor, start: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """As `atc.ops.centres.find_medoids`."""
    medoids, labels = start, _joined(distance, start)
    for _ in range(rounds):
        together = labels[:, :, None] == labels[:, None, :]
        cost = ((distance * together) @ weight.unsqueeze(-1)).squeeze(-1)
        medoids = cheapest_members(cost, labels, start.shape[1])
        labels = _joined(distance, medoids)
    return medoids, labels


def cheapest_members(cost: Tensor, labels: Tensor, count: int) -> Tensor:
    """The member of each cluster with the least cost, the first of equals.

    Args:
        cost: ``[B, N]``.
        labels: ``[B, N]`` int64 in [0, K).
        count: K.

    Returns:
        ``[B, K]`` int64; token 0 for a cluster without members.
    """
    outside = labels[:, None, :] != torch.arange(count, device=labels.device)[None, :, None]
    return cost[:, None, :].masked_fill(outside, torch.inf).argmin(dim=2)


def nearest(distance: Tensor, centres: Tensor) -> Tensor:
    """``[B, N]`` the nearest centre of each token, the first of equals: of a centre another may be as near."""
    return distance.gather(2, centres[:, None, :].expand(-1, distance.shape[1], -1)).argmin(dim=2)


def spread_out(distance: Tensor, first: Tensor, count: int, *, to_nearest: bool = True) -> Tensor:
    """As `atc.ops.centres.spread_out`; `to_nearest=False`: farthest from any centre so far, not from the nearest."""
    either = torch.minimum if to_nearest else torch.maximum
    centres = [first]
    reach = _row_of(distance, first)
    for _ in range(count - 1):
        centres.append(reach.scatter(1, torch.stack(centres, dim=1), -1.0).argmax(dim=1))
        reach = either(reach, _row_of(distance, centres[-1]))
    return torch.stack(centres, dim=1)


def _row_of(distance: Tensor, token: Tensor) -> Tensor:
    """``[B, N]`` the distances of one token of each image."""
    return distance.gather(1, token[:, None, None].expand(-1, 1, distance.shape[2])).squeeze(1)


def smallest_distances(distance: Tensor, count: int) -> Tensor:
    """As `atc.ops.centres.smallest_distances`."""
    return distance.topk(count, dim=2, largest=False).values


def nearest_denser(distance: Tensor, density: Tensor, by_position: bool = True) -> Tensor:
    """As `atc.ops.centres.nearest_denser`; `by_position=False`: equally dense tokens are not denser than each other."""
    denser = density[:, None, :] > density[:, :, None]
    if by_position:
        order = torch.arange(density.shape[1], device=density.device)
        tied = density[:, None, :] == density[:, :, None]
        denser = denser | (tied & (order[None, :] < order[:, None]))
    farthest = distance.amax(dim=(1, 2))[:, None, None]
    return torch.where(denser, distance, farthest).amin(dim=2)


def _joined(distance: Tensor, medoids: Tensor) -> Tensor:
    own = torch.arange(medoids.shape[1], device=medoids.device).expand_as(medoids)
    return nearest(distance, medoids).scatter(1, medoids, own)

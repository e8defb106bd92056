"""Clusters around centres: what K-Medoids and DPC-KNN look up in the distances of tokens.

On a CPU each is an operator (`operator.py`) that calls the compiled library of `atc.ops.linkage` (`compiled.py`);
everywhere else operators of PyTorch do it (`plain.py`), which define what is meant. Both give the same bits, but for
sums of weighted distances: the library adds in float64, so that medoids of nearly equal cost may differ.
"""

from __future__ import annotations

from torch import Tensor

from atc.ops.centres import operator, plain

__all__ = ["find_medoids", "nearest_centres", "nearest_denser", "smallest_distances", "spread_out"]


def find_medoids(distance: Tensor, weight: Tensor, start: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """K-Medoids: each token joins its nearest medoid, each cluster takes a new one, and so on.

    A medoid is the member with the least distance to all members of its cluster, each times its weight; the first of
    equals. A token joins the first of equally near medoids, and a medoid its own cluster.

    Args:
        distance: ``[B, N, N]`` floating.
        weight: ``[B, N]`` of the same dtype.
        start: ``[B, K]`` int64, the first medoids, all different.
        rounds: of new medoids; 0 only lets tokens join.

    Returns:
        ``[B, K]`` int64 medoids, and ``[B, N]`` int64 labels in [0, K).

    Examples:
        >>> import torch
        >>> x = torch.tensor([[[0.0], [1.0], [2.0], [9.0]]])
        >>> find_medoids(torch.cdist(x, x), torch.ones(1, 4), torch.tensor([[0, 3]]), rounds=1)
        (tensor([[1, 3]]), tensor([[0, 0, 0, 1]]))
    """
    return (operator if operator.takes(distance, weight, start) else plain).find_medoids(
        distance, weight, start, rounds
    )


def nearest_centres(distance: Tensor, centres: Tensor) -> Tensor:
    """Which centre each token is nearest to, the first of equals; a centre is its own.

    Args:
        distance: ``[B, N, N]`` floating.
        centres: ``[B, K]`` int64, all different.

    Returns:
        ``[B, N]`` int64 in [0, K).
    """
    return find_medoids(distance, distance[:, 0], centres, 0)[1]


def spread_out(distance: Tensor, first: Tensor, count: int) -> Tensor:
    """Centres that lie far apart: again and again the token that is farthest from all so far, the first of equals.

    Args:
        distance: ``[B, N, N]`` floating.
        first: ``[B]`` int64, the first centre.
        count: K, at most N.

    Returns:
        ``[B, K]`` int64, all different.
    """
    return (operator if operator.takes(distance, first) else plain).spread_out(distance, first, count)


def smallest_distances(distance: Tensor, count: int) -> Tensor:
    """The smallest distances of each token, ascending.

    Args:
        distance: ``[B, N, N]`` floating.
        count: k, at most N.

    Returns:
        ``[B, N, k]``.
    """
    return (operator if operator.takes(distance) else plain).smallest_distances(distance, count)


def nearest_denser(distance: Tensor, density: Tensor) -> Tensor:
    """How far each token is from the nearest denser one; of equally dense tokens the earlier counts as the denser.

    Args:
        distance: ``[B, N, N]`` floating.
        density: ``[B, N]`` of the same dtype.

    Returns:
        ``[B, N]``; for the densest token the largest distance of its image.
    """
    return (operator if operator.takes(distance, density) else plain).nearest_denser(distance, density)

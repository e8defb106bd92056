"""The merges themselves, for pictures and for thresholds that choose K."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from atc.ops.arguments import described, integer, is_floating, number
from atc.ops.linkage.dispatch import check_distance, check_options, check_values, merge_in_order, refuse_nan, wide
from atc.ops.linkage.relabel import labels_from_merges


class Dendrogram(NamedTuple):
    """The part of the tree from N single tokens up to K clusters."""

    merges: Tensor  # [B, N-K, 2] int64; the slot that disappears, the larger slot that stays, in order
    heights: Tensor  # [B, N-K] float64; the distance of each merge, never falling for any of the four methods
    tokens: int  # N

    def labels(self, keep: int) -> Tensor:
        """The partition into ``keep`` clusters.

        Args:
            keep: from K, which the tree was made with, to N; N or more is the identity.

        Returns:
            ``[B, N]`` int64, numbered by first appearance; what :func:`atc.ops.linkage.labels` returns.

        Raises:
            ValueError: ``keep`` is no integer, or the tree ends before ``keep`` clusters are left.
        """
        keep = integer("keep", keep, least=1)
        least = self.tokens - self.merges.shape[1]
        needed = max(self.tokens - keep, 0)
        if keep < least:
            raise ValueError(f"keep={keep} is less than the {least} clusters this dendrogram ends with")
        return labels_from_merges(self.merges[:, :needed], self.tokens)

    def clusters_below(self, height: float | Tensor) -> Tensor:
        """How many clusters are left after all merges up to a height.

        Args:
            height: a number, or a tensor with one for each image, ``[B, 1]``; infinity is one, NaN is not.

        Returns:
            ``[B]`` int64, at least the tree's own K.

        Raises:
            ValueError: ``height`` is no number, or a tensor of another shape.
        """
        if not isinstance(height, Tensor) or height.ndim == 0:
            height = number("height", height.item() if isinstance(height, Tensor) else height)
        elif height.shape != (len(self.heights), 1) or not is_floating(height, 2) or height.isnan().any():
            raise ValueError(f"height must be a number, or one for each image [B, 1], got {described(height)}")
        return self.tokens - torch.as_tensor(self.heights <= height).sum(1)


def dendrogram(
    distance: Tensor,
    keep: int,
    method: str,
    *,
    backend: str | None = None,
    check_finite: bool = False,
) -> Dendrogram:
    """The merges that lead to ``keep`` clusters, in order, with their heights.

    Arguments and errors are those of :func:`atc.ops.linkage.labels`. A slot is a position among the N tokens: a
    cluster lives in the slot of its largest member.
    """
    check_distance(distance)
    check_values(distance)
    keep, check_finite = check_options(keep, method, backend, check_finite)
    distance = wide(distance.detach())
    if check_finite:
        refuse_nan(distance)
    merges, heights = merge_in_order(distance, keep, method, backend)
    return Dendrogram(merges, heights, distance.shape[1])

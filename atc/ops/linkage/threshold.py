"""Clustering up to a distance: how many clusters are left is for each image to say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from atc.ops.arguments import described, integer, number
from atc.ops.exporting import exporting
from atc.ops.linkage.cosine import check_keys, cosine_distance
from atc.ops.linkage.dispatch import check_linkage, merge_in_order
from atc.ops.linkage.exportable import labels_within_by_loop
from atc.ops.linkage.features import distances_in_parts
from atc.ops.linkage.relabel import labels_from_merges

_FAR = 4.0  # from padding to everything: farther than any cosine distance, and sums of it are exact


def labels_within(
    keys: Tensor,
    threshold: float,
    method: str,
    *,
    least: int = 1,
    most: int | None = None,
    valid: Tensor | None = None,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Merge tokens until the next merge would be of clusters further apart than a threshold.

    Distances, merges and their order are those of :func:`atc.ops.linkage.labels_from_features`. Of the heights
    ``h_1 <= h_2 <= ...`` of an image's n tokens, those up to the threshold are merged, that of the threshold included,
    as SciPy's ``fcluster(criterion="distance")`` does: ``n - #{h_i <= threshold}`` clusters are left, or the nearest
    number from ``least`` to ``most`` (of n at most). Each image is by itself: padding and other images change nothing.

    Under torch.compile this is one operator; in a program of torch.export or ONNX, a loop over plain operators.

    Args:
        keys: ``[B, N, D]`` floating. A zero vector has distance 1 to everything.
        threshold: in the unit of the linkage distance, 0 or more; for cosine distances, 2 merges all.
        method: "single", "complete", "average" or "ward".
        least: clusters that stay at the fewest, at least 1.
        most: clusters that stay at the most, whatever the distances; None: any number.
        valid: ``[B, N]`` bool, true for the tokens that count, which stand first; None: all.
        backend: as for :func:`atc.ops.linkage.labels`.

    Returns:
        ``[B, N]`` int64 labels numbered by first appearance, -1 where a token does not count, and ``[B]`` int64 how
        many clusters an image has.

    Raises:
        ValueError: no such keys, threshold, linkage, backend or mask, or ``most`` less than ``least``.

    Examples:
        >>> keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [2.0, 0.1]], [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
        >>> labels, counts = labels_within(keys, 0.3, "average")
        >>> labels.tolist(), counts.tolist()
        ([[0, 1, 0], [0, 1, 2]], [2, 3])
    """
    threshold, least, most = _check(keys, threshold, method, least, most, valid, backend)
    if backend is None and exporting():
        return labels_within_by_loop(cosine_distance(keys), threshold, method, least, most, valid)
    return _within(keys.detach(), threshold, method, least, most, valid, backend)


@torch.library.custom_op("atc::linkage_within", mutates_args=())
def _within(
    keys: Tensor,
    threshold: float,
    method: str,
    least: int,
    most: int | None,
    valid: Tensor | None,
    backend: str | None,
) -> tuple[Tensor, Tensor]:
    _check(keys, threshold, method, least, most, valid, backend)
    batch, tokens, _ = keys.shape
    labels = torch.empty(batch, tokens, dtype=torch.int64, device=keys.device)
    counts = torch.zeros(batch, dtype=torch.int64, device=keys.device)
    for images, real, merges, heights in _trees(keys, valid, method, least, backend, threshold, most):
        within = (heights.cummax(dim=1).values <= threshold).sum(dim=1)  # up to the first that is above
        left = (real - within).clamp(least, most).minimum(real)
        # What is not merged, merges with itself.
        goes = torch.arange(merges.shape[1], device=keys.device) < (real - left).unsqueeze(1)
        low, high = merges.unbind(dim=2)
        labels[images] = labels_from_merges(torch.stack([low, torch.where(goes, high, low)], dim=2), tokens)
        counts[images] = left
    return (labels if valid is None else labels.masked_fill_(~valid, -1)), counts


@_within.register_fake
def _(
    keys: Tensor,
    threshold: float,
    method: str,
    least: int,
    most: int | None,
    valid: Tensor | None,
    backend: str | None,
) -> tuple[Tensor, Tensor]:
    _check(keys, threshold, method, least, most, valid, backend)
    return keys.new_empty(keys.shape[:2], dtype=torch.int64), keys.new_empty(keys.shape[0], dtype=torch.int64)


def merge_heights(
    keys: Tensor, method: str, *, valid: Tensor | None = None, backend: str | None = None
) -> tuple[Tensor, Tensor]:
    """The distances of all merges of each image, which a threshold is chosen by.

    Args:
        keys: as for :func:`labels_within`, like what follows.
        method: linkage.
        valid: tokens that count.
        backend: of the clustering.

    Returns:
        ``[B, N-1]`` float64 heights, never falling, infinite behind the n - 1 of an image's n tokens; and ``[B]``
        int64 n.

    Raises:
        ValueError: as there.

    Examples:
        >>> heights, real = merge_heights(torch.tensor([[[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]]), "complete")
        >>> heights.tolist(), real.tolist()
        ([[0.0, 1.0]], [3])
    """
    _check(keys, 0.0, method, 1, None, valid, backend)
    batch, tokens, _ = keys.shape
    found = torch.full((batch, max(tokens - 1, 0)), torch.inf, dtype=torch.float64, device=keys.device)
    real = torch.zeros(batch, dtype=torch.int64, device=keys.device)
    for images, counts, _, heights in _trees(keys.detach(), valid, method, 1, backend):
        found[images], real[images] = heights, counts
    return found, real


class _Trees(NamedTuple):
    """The trees of some images."""

    images: slice
    real: Tensor  # [b] int64, tokens that count
    merges: Tensor  # [b, M, 2], padding last
    heights: Tensor  # [b, M] float64, infinite where padding merges


def _trees(
    keys: Tensor,
    valid: Tensor | None,
    method: str,
    least: int,
    backend: str | None,
    threshold: float = math.inf,
    most: int | None = None,
) -> Iterator[_Trees]:
    """The trees of a few images at a time, down to `least` clusters, or to what the threshold and `most` allow."""
    batch, tokens, _ = keys.shape
    real = keys.new_full((batch,), tokens, dtype=torch.int64) if valid is None else valid.sum(dim=1)
    for start, distance in distances_in_parts(keys):
        part = slice(start, start + len(distance))
        if valid is not None:  # which stand first, so that what is above the diagonal has padding in its columns
            distance.masked_fill_(~valid[part].unsqueeze(1), _FAR)
        forced = 0 if most is None else max(tokens - most, 0)
        fewest = max(min(least, tokens), 1)
        merges, heights = merge_in_order(distance, fewest, method, backend, limit=threshold, forced=forced)
        if valid is not None:
            behind = torch.arange(1, merges.shape[1] + 1, device=keys.device) >= real[part].unsqueeze(1)
            heights = heights.masked_fill(behind, torch.inf)
        yield _Trees(part, real[part], merges, heights)


def _check(
    keys: Tensor,
    threshold: float,
    method: str,
    least: int,
    most: int | None,
    valid: Tensor | None,
    backend: str | None,
) -> tuple[float, int, int | None]:
    """The plain values of what is to be used; ValueError for what cannot be."""
    check_keys(keys)
    check_linkage(method, backend)
    threshold, least = number("threshold", threshold), integer("least", least, least=1)
    if threshold < 0:
        raise ValueError(f"threshold={threshold} must be 0 or more")
    if most is not None and integer("most", most, least=1) < least:
        raise ValueError(f"most={most} must be at least as many as least={least}")
    if valid is not None and (valid.dtype != torch.bool or valid.shape != keys.shape[:2]):
        raise ValueError(f"valid must be bool {list(keys.shape[:2])}, got {described(valid)}")
    return threshold, least, most

"""From keys to labels in one operator, a few images at a time where that keeps distances in the cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from atc.ops.exporting import exporting
from atc.ops.linkage.cosine import (
    by_kernel,
    check_keys,
    cosine_distance,
    distance_of_units,
    full_float32,
    has_kernel,
    normalised,
)
from atc.ops.linkage.dispatch import check_options, cluster
from atc.ops.linkage.exportable import labels_by_loop

# Distances that are held at once, at least one image's: a second-level cache, and a gigabyte.
_CELLS = {"cpu": 1 << 19, "cuda": 1 << 28}


def labels_from_features(
    keys: Tensor,
    keep: int,
    method: str,
    *,
    backend: str | None = None,
    check_finite: bool = False,
) -> Tensor:
    """Partition tokens by the cosine distance of their keys; equals ``labels(cosine_distance(keys), ...)``.

    Distances are float32, or float64 for float64 keys, whatever autocast or the matmul precision say.

    Args:
        keys: ``[B, N, D]`` floating. A zero vector has distance 1 to everything.
        keep: K, at least 1; N or more is the identity.
        method: "single", "complete", "average" or "ward".
        backend: one of ``BACKENDS``; None chooses by device.
        check_finite: raise on NaN, for which a GPU has to be waited for. Otherwise K clusters come out all the same.

    Returns:
        ``[B, N]`` int64, numbered by first appearance.

    Raises:
        ValueError: as :func:`atc.ops.linkage.labels` does.

    Examples:
        >>> keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [2.0, 0.1]]])
        >>> labels_from_features(keys, keep=2, method="complete").tolist()
        [[0, 1, 0]]
    """
    check_keys(keys)
    keep, check_finite = check_options(keep, method, backend, check_finite)
    if backend is None and exporting():
        return labels_by_loop(cosine_distance(keys), keep, method)
    return _linkage_from_features(keys.detach(), keep, method, backend, check_finite)


@torch.library.custom_op("atc::linkage_from_features", mutates_args=())
def _linkage_from_features(keys: Tensor, keep: int, method: str, backend: str | None, check_finite: bool) -> Tensor:
    check_keys(keys)
    check_options(keep, method, backend, check_finite)
    batch, tokens, _ = keys.shape
    labels = torch.empty(batch, tokens, dtype=torch.int64, device=keys.device)
    for start, distance in distances_in_parts(keys):
        stop = start + len(distance)
        labels[start:stop] = cluster(distance, keep, method, backend, check_finite, first_image=start)
    return labels


def distances_in_parts(keys: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The cosine distances of a few images at a time, in memory that the next part overwrites.

    Args:
        keys: ``[B, N, D]``, checked.

    Yields:
        The first image of the part, and ``[b, N, N]`` distances, of which what is below the diagonal means nothing.
    """
    batch, tokens, _ = keys.shape
    whole = has_kernel(keys)
    with full_float32(keys.device.type):
        source = keys if whole else normalised(keys)
        images = max(1, _CELLS.get(keys.device.type, 1 << 28) // max(1, tokens * tokens))
        if keys.device.type == "cpu":
            images = max(images, torch.get_num_threads())
        dtype = torch.float32 if whole else source.dtype
        space = torch.empty(min(images, batch), tokens, tokens, dtype=dtype, device=keys.device)
        for start in range(0, batch, images):
            some = source[start : start + images]
            out = space[: len(some)]
            # No backend reads what is below the diagonal.
            yield start, by_kernel(some, out, both=False) if whole else distance_of_units(some, out=out)


@_linkage_from_features.register_fake
def _(keys: Tensor, keep: int, method: str, backend: str | None, check_finite: bool) -> Tensor:
    check_keys(keys)
    check_options(keep, method, backend, check_finite)
    return keys.new_empty(keys.shape[:2], dtype=torch.int64)

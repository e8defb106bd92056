"""Clustering in which only neighbours merge, such as regions of an image that touch."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from atc.ops.arguments import described, integer
from atc.ops.exporting import exporting
from atc.ops.linkage import cpu, reference
from atc.ops.linkage.dispatch import check_distance, check_linkage, wide
from atc.ops.linkage.exportable import labels_by_loop
from atc.ops.linkage.relabel import labels_from_merges
from atc.ops.linkage.torch import steps

BACKENDS_AMONG = ("reference", "torch", "cpu")
UPDATES = ("sequential", "matching")


def labels_among_neighbours(
    distance: Tensor,
    neighbours: Tensor,
    keep: int,
    method: str,
    *,
    update: str = "sequential",
    backend: str | None = None,
) -> Tensor:
    """Partition each image's tokens into exactly ``keep`` clusters, of which only neighbours merge.

    The closest two neighbouring clusters are merged until ``keep`` are left. A union has the neighbours of both it came
    from; distances between clusters are those of :func:`atc.ops.linkage.labels`, over all pairs of members, whether
    these are neighbours or not. Where no two clusters are neighbours any more, the closest two of all merge. Slots,
    ties and NaN are as in :func:`atc.ops.linkage.labels`, so that the result is unique, on every backend the same; if
    all tokens are neighbours it is that of ``labels``.

    With ``update="matching"`` a union merges no further: the closest pair whose two tokens are both free is taken,
    N - keep times.

    Under torch.compile this is one operator; in a program of torch.export or ONNX "sequential" is a loop over plain
    operators unless ``backend`` names one.

    Args:
        distance: ``[B, N, N]`` floating, as in :func:`atc.ops.linkage.labels`.
        neighbours: ``[B, N, N]`` bool on the same device; only the part above the diagonal is read.
        keep: K, at least 1; N or more is the identity.
        method: "single", "complete", "average" or "ward".
        update: "sequential" or "matching".
        backend: one of ``BACKENDS_AMONG``; None chooses by device: the compiled kernel on a CPU, else "torch".

    Returns:
        ``[B, N]`` int64, numbered by first appearance.

    Raises:
        ValueError: an argument is not as described; or there are fewer than N - keep disjoint pairs of neighbours
            for "matching", for which a GPU has to be waited for.

    Examples:
        >>> row = torch.tensor([[[0, 0.10, 0.05, 0.50], [0, 0, 0.20, 0.12], [0, 0, 0, 0.15], [0, 0, 0, 0]]])
        >>> touching = torch.ones(1, 4, 4, dtype=torch.bool).triu(1).tril(1)
        >>> labels_among_neighbours(row, touching, keep=2, method="average").tolist()
        [[0, 0, 0, 1]]
        >>> labels_among_neighbours(row, touching, keep=2, method="average", update="matching").tolist()
        [[0, 0, 1, 1]]
    """
    keep = _check(distance, neighbours, keep, method, update, backend)
    if backend is None and exporting():
        if update == "matching":
            raise ValueError("update='matching' cannot be exported: take 'sequential', or name a backend")
        above, near = wide(distance.detach()).triu(1), neighbours.triu(1)
        return labels_by_loop(above + above.mT, keep, method, near | near.mT)
    return cast(Tensor, _linkage_among(distance.detach(), neighbours, keep, method, update, backend))


@torch.library.custom_op("atc::linkage_among", mutates_args=())
def _linkage_among(
    distance: Tensor, neighbours: Tensor, keep: int, method: str, update: str, backend: str | None
) -> Tensor:
    _check(distance, neighbours, keep, method, update, backend)
    distance, once = wide(distance), update == "matching"
    if backend is None:
        backend = "cpu" if distance.device.type == "cpu" and cpu.kernel_among() is not None else "torch"
    if backend == "cpu":
        found = cpu.cluster(distance.cpu(), keep, method, neighbours=neighbours.cpu(), once=once)
        labels = found.labels.to(distance.device)
    else:
        by = _by_reference if backend == "reference" else steps.merge_batch
        merges, _ = by(distance, keep, method, neighbours, once)
        labels = labels_from_merges(merges, distance.shape[1])
    if once and labels.numel():
        _refuse_shortage(labels, keep)
    return labels


@_linkage_among.register_fake
def _(distance: Tensor, neighbours: Tensor, keep: int, method: str, update: str, backend: str | None) -> Tensor:
    _check(distance, neighbours, keep, method, update, backend)
    return distance.new_empty(distance.shape[:2], dtype=torch.int64)


def _by_reference(
    distance: Tensor, keep: int, method: str, neighbours: Tensor, once: bool
) -> tuple[Tensor, Tensor | None]:
    batch, tokens, _ = distance.shape
    # What is not merged at last is the last slot with itself.
    merges = np.full((batch, max(tokens - keep, 0), 2), tokens - 1, dtype=np.int64)
    near = neighbours.cpu().numpy()
    for image, one in enumerate(distance.double().cpu().numpy()):
        found, _ = reference.merge_greedily(one, keep, method, near[image], once)
        if found:
            merges[image, : len(found)] = found
    return torch.from_numpy(merges).to(distance.device), None


def _refuse_shortage(labels: Tensor, keep: int) -> None:
    left = labels.amax(1) + 1
    short = (left > keep).nonzero()
    if len(short):
        image, tokens = int(short[0]), labels.shape[1]
        raise ValueError(
            f"image {image} has {tokens - int(left[image])} pairs of neighbours without a token in common, and "
            f"{tokens - keep} are to be merged: remove fewer tokens at a time, or take update='sequential'"
        )


def _check(distance: Tensor, neighbours: Tensor, keep: int, method: str, update: str, backend: str | None) -> int:
    check_distance(distance)
    check_linkage(method, backend)
    if backend is not None and backend not in BACKENDS_AMONG:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS_AMONG)} among neighbours, got {backend!r}")
    if not isinstance(update, str) or update not in UPDATES:
        raise ValueError(f"update must be one of {', '.join(UPDATES)}, got {described(update)}")
    if not isinstance(neighbours, Tensor) or neighbours.dtype != torch.bool or neighbours.shape != distance.shape:
        raise ValueError(f"neighbours must be bool {list(distance.shape)}, got {described(neighbours)}")
    if neighbours.device != distance.device:
        raise ValueError(f"neighbours must be on {distance.device}, as distance is, got {neighbours.device}")
    return integer("keep", keep, least=1)

"""One tree for several stages, each of which cuts it lower than the one before."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor

from atc.ops.linkage.dispatch import check_distance, check_options, merge_in_order, wide
from atc.ops.linkage.relabel import labels_from_merges


class TreeCut(NamedTuple):
    """A tree, and where one stage has cut it."""

    merges: Tensor  # [B, N-1, 2] int64 of the N tokens of the first stage; see `Dendrogram`
    root_labels: Tensor  # [B, N] int64, cluster of each of these
    labels: Tensor  # [B, n] int64, cluster of each token that entered the stage of this cut
    clusters: int  # that it leaves


def grow_tree(distance: Tensor, keep: int, method: str, *, backend: str | None = None) -> TreeCut:
    """The whole tree of the tokens, cut at ``keep`` clusters.

    Arguments and errors are those of :func:`atc.ops.linkage.labels`, whose labels these are. One operator under
    torch.compile and torch.export; ONNX does not have it.

    Examples:
        >>> points = torch.tensor([[0.0, 5.0, 1.0, 7.0]])
        >>> first = grow_tree((points[:, :, None] - points[:, None, :]).abs(), keep=3, method="average")
        >>> first.labels.tolist(), cut_tree(first, keep=2).labels.tolist()
        ([[0, 1, 0, 2]], [[0, 1, 1]])
    """
    check_distance(distance)
    keep, _ = check_options(keep, method, backend, False)
    merges = cast(Tensor, _merges(distance.detach(), method, backend))
    tokens = distance.shape[1]
    labels = labels_from_merges(merges[:, : max(tokens - keep, 0)], tokens)
    return TreeCut(merges, labels, labels, min(keep, tokens))


def cut_tree(before: TreeCut, keep: int) -> TreeCut:
    """The same tree cut at ``keep`` clusters, of which those of the cut before are parts.

    Args:
        before: an earlier cut, which left the tokens that are given labels now.
        keep: clusters to leave, at least 1.
    """
    tokens = before.root_labels.shape[1]
    root_labels = labels_from_merges(before.merges[:, : max(tokens - keep, 0)], tokens)
    labels = root_labels.new_zeros(len(root_labels), before.clusters).scatter(1, before.root_labels, root_labels)
    return TreeCut(before.merges, root_labels, labels, min(keep, tokens))


@torch.library.custom_op("atc::linkage_merges", mutates_args=())
def _merges(distance: Tensor, method: str, backend: str | None) -> Tensor:
    return merge_in_order(wide(distance), 1, method, backend)[0]


@_merges.register_fake
def _(distance: Tensor, method: str, backend: str | None) -> Tensor:
    batch, tokens, _ = distance.shape
    return distance.new_empty((batch, max(tokens - 1, 0), 2), dtype=torch.int64)

"""Bipartite soft matching (ToMe, arXiv 2210.09461): from keys to labels in one operator.

On a CPU the work is done by operators of PyTorch, on a GPU by two kernels (`triton/`): one looks for the best partner
of each source without writing the similarities of all pairs, the other ranks the sources and numbers the outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atc.ops.exporting import exporting, inside_transform
from atc.ops.gpu import triton_reads
from atc.ops.linkage.cosine import check_keys, full_float32, normalised
from atc.ops.scale import unit_vectors

__all__ = ["bipartite_labels"]


def bipartite_labels(keys: Tensor, keep: int, first: int, *, ranked: bool = False) -> Tensor:
    """Merge the sources that are most similar to one of the destinations into it.

    Tokens are sources and destinations by turns. Similarity is the cosine, in float32 (float64 for float64 keys)
    whatever autocast or the matmul precision say; the first of equally similar destinations is taken, and the first of
    equally similar sources merges. Outputs are the sources that do not merge, then the destinations, both by position.

    Args:
        keys: ``[B, N, D]`` floating.
        keep: K, at least the number of destinations, at most N.
        first: the position of the first source, 0 or 1.
        ranked: the sources that do not merge come in descending order of their similarity instead.

    Returns:
        ``[B, N]`` int64 in [0, K). Keys that are not finite get labels in the same range.

    Raises:
        ValueError: `keys` is not a dense floating tensor of three dimensions, or another argument is out of range.

    Examples:
        >>> keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [2.0, 0.1], [0.1, 1.0]]])
        >>> bipartite_labels(keys, keep=3, first=1).tolist()
        [[1, 0, 2, 2]]
    """
    if exporting() or inside_transform(keys):
        _check(keys, keep, first)
        keys = keys.detach()
        with torch.autocast(keys.device.type, enabled=False):
            return _plain(unit_vectors(keys if keys.dtype == torch.float64 else keys.float()), keep, first, ranked)
    return _bipartite_labels(keys.detach(), keep, first, ranked)


@torch.library.custom_op("atc::bipartite_labels", mutates_args=())
def _bipartite_labels(keys: Tensor, keep: int, first: int, ranked: bool) -> Tensor:
    _check(keys, keep, first)
    if triton_reads(keys, dtypes=(torch.float16, torch.bfloat16, torch.float32)):
        from atc.ops.matching.triton.launch import best_partners, labels_of_matches

        best, partner = best_partners(keys, first)
        return labels_of_matches(best, partner, keys.shape[1], keep, first, ranked)
    with full_float32(keys.device.type):
        return _plain(normalised(keys), keep, first, ranked)


@_bipartite_labels.register_fake
def _(keys: Tensor, keep: int, first: int, ranked: bool) -> Tensor:
    _check(keys, keep, first)
    return keys.new_empty(keys.shape[:2], dtype=torch.int64)


def _plain(unit: Tensor, keep: int, first: int, ranked: bool) -> Tensor:
    """The labels from unit vectors ``[B, N, D]``."""
    sources, destinations = unit[:, first::2], unit[:, 1 - first :: 2]
    if not destinations.shape[1]:  # a token by itself
        return torch.zeros(unit.shape[:2], dtype=torch.int64, device=unit.device)
    best, partner = (sources @ destinations.mT).max(dim=-1)
    return labels_plainly(best, partner, unit.shape[1], keep, first, ranked)


def labels_plainly(best: Tensor, partner: Tensor, tokens: int, keep: int, first: int, ranked: bool) -> Tensor:
    """The labels from the similarity of each source to its best partner.

    Args:
        best: ``[B, sources]`` similarities.
        partner: ``[B, sources]`` int64, which destination.
        tokens: N.
        keep: K.
        first: the position of the first source, 0 or 1.
        ranked: as of `bipartite_labels`.

    Returns:
        ``[B, N]`` int64.
    """
    # ONNX has no stable sort; without it, any of equally similar sources may merge
    stable = {} if exporting() else {"stable": True}
    order = best.argsort(dim=-1, descending=True, **stable)
    removed = tokens - keep
    unmerged = best.shape[1] - removed
    if ranked:
        rank = order.argsort(dim=-1)
        merges, numbers = rank < removed, rank - removed
    else:
        merges = torch.zeros_like(best, dtype=torch.bool).scatter(1, order[:, :removed], True)
        numbers = (~merges).cumsum(dim=1) - 1
    labels = partner.new_empty(best.shape[0], tokens)  # of the same transform
    labels[:, first::2] = torch.where(merges, unmerged + partner, numbers)
    labels[:, 1 - first :: 2] = torch.arange(unmerged, keep, device=best.device)
    return labels


def _check(keys: Tensor, keep: int, first: int) -> None:
    check_keys(keys)
    tokens = keys.shape[1]
    if first not in (0, 1):
        raise ValueError(f"first must be 0 or 1, got {first!r}")
    least = max(tokens - (tokens - first + 1) // 2, min(tokens, 1))
    if not least <= keep <= tokens:
        raise ValueError(f"keep={keep} must be {least} to {tokens}: of {tokens} tokens {least} are destinations")

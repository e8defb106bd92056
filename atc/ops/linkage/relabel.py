"""From merges to labels."""

from __future__ import annotations

import torch
from torch import Tensor


def labels_from_parents(parent: Tensor) -> Tensor:
    """Number the trees of a forest by first appearance.

    Args:
        parent: ``[B, N]`` int64; the slot that took in each slot, always a larger one, or the slot itself.

    Returns:
        ``[B, N]`` int64; token 0 has label 0, each later token a label seen before or the next one.
    """
    batch, tokens = parent.shape
    if tokens == 0:
        return parent.clone()
    root = parent
    for _ in range((tokens - 1).bit_length()):  # each pass doubles how far a token has climbed
        root = root.gather(1, root)
    position = torch.arange(tokens, device=parent.device).expand(batch, tokens)
    first = torch.full_like(parent, tokens).scatter_reduce(1, root, position, "amin").gather(1, root)
    number = (first == position).long().cumsum(1) - 1
    return number.gather(1, first)


def labels_from_merges(merges: Tensor, tokens: int) -> Tensor:
    """Labels after some merges.

    Args:
        merges: ``[B, M, 2]`` int64; (slot that disappears, larger slot that stays), in any order.
        tokens: N.

    Returns:
        ``[B, N]`` int64, numbered by first appearance.
    """
    parent = torch.arange(tokens, device=merges.device).repeat(merges.shape[0], 1)
    return labels_from_parents(parent.scatter(1, merges[..., 0], merges[..., 1]))

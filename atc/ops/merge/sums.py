"""Sums over groups of tokens in operators of PyTorch, differentiable as often as one likes."""

from __future__ import annotations

import torch
from torch import Tensor


def bins_of(labels: Tensor, num_groups: int) -> Tensor:
    """Where each token's row is added among ``B * (K + 1)`` rows: a bin for what an image drops, then its groups.

    Args:
        labels: ``[B, N]`` int64 in ``[-1, num_groups)``.
        num_groups: K.

    Returns:
        ``[B * N]`` int64; a label out of range gets an index out of range.
    """
    # A flat row index keeps index_add's index at B*N numbers, where scatter_add would need B*N*C of them.
    batch, bins = labels.shape[0], num_groups + 1
    first = torch.arange(1, batch * bins + 1, bins, device=labels.device).unsqueeze(1)
    within = labels.clamp(-1, num_groups - 1) == labels  # another image's bins are out of reach
    return torch.where(within, labels + first, batch * bins).flatten()


def add_by_bin(values: Tensor, index: Tensor, labels: Tensor, num_groups: int) -> Tensor:
    """The sums of ``values`` ``[B, N]`` or ``[B, N, C]`` by group, ``[B, K]`` or ``[B, K, C]``, a view.

    Args:
        values: what is summed.
        index: as `bins_of` makes it.
        labels: the labels of which it was made, for the message.
        num_groups: K.

    Raises:
        ValueError: a label is out of range (on a CPU).
    """
    batch, bins = values.shape[0], num_groups + 1
    out = values.new_zeros((batch * bins, *values.shape[2:]))
    try:
        out = out.index_add(0, index, values.flatten(0, 1))
    except (IndexError, RuntimeError):
        _refuse_out_of_range(labels, num_groups)
        raise
    return out.unflatten(0, (batch, bins))[:, 1:]


def take_by_label(rows: Tensor, labels: Tensor) -> Tensor:
    """To each token the row of its group, zeros where it was dropped: ``[B, K, ...]`` -> ``[B, N, ...]``."""
    batch, groups = rows.shape[:2]
    first = torch.arange(0, batch * groups, max(groups, 1), device=labels.device)[:batch].unsqueeze(1)
    index = torch.where(labels < 0, batch * groups, labels + first) if groups else torch.zeros_like(labels)
    padded = torch.cat([rows.flatten(0, 1), rows.new_zeros(1, *rows.shape[2:])])
    return padded.index_select(0, index.flatten()).unflatten(0, labels.shape)


def rows_of(indices: Tensor, num_in: int, prefix: int) -> Tensor:
    """Where the rows of prefix tokens and of chosen ones stand among all rows of a batch.

    Args:
        indices: ``[B, K]`` int64 in ``[0, num_in)``.
        num_in: N.
        prefix: P.

    Returns:
        ``[B * (P + K)]`` int64; an index out of range stays one, and reaches no other image.
    """
    batch, length = indices.shape[0], prefix + num_in
    first = torch.arange(0, batch * length, max(length, 1), device=indices.device)[:batch].unsqueeze(1)
    within = indices.clamp(0, max(num_in - 1, 0)) == indices
    rows = torch.where(within, indices + (first + prefix), batch * length)
    if prefix:
        rows = torch.cat([first + torch.arange(prefix, device=indices.device), rows], dim=1)
    return rows.flatten()


def _refuse_out_of_range(labels: Tensor, num_groups: int) -> None:
    outside = (labels < -1) | (labels >= num_groups)
    if outside.any():
        image, token = outside.nonzero()[0].tolist()
        wrong = int(labels[image, token])
        raise ValueError(f"labels must lie in [-1, {num_groups}), got {wrong} for token {token} of image {image}")

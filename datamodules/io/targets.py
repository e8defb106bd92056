"""Parts of a data set and their targets: which are held out, and how labels become rows."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# Entries (paths, as a rule) and their targets: int64 [n] or uint8 multi-hot [n, K]
Part = tuple[Sequence[Any], Tensor]
SPLIT_SEED = 2409  # fixed: the pictures held out are the same in every run, whatever its seed


def hold_out(targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Which pictures are held out; always the same ones for the same targets.

    Args:
        targets: class indices ``[n]``, of which every class gives its share (to within one picture), or multi-hot rows
            ``[n, K]``, of which any are taken.
        share: of the pictures, rounded down; at least one is held out.

    Returns:
        Indices of the pictures held out and of the rest, ascending.

    Raises:
        ValueError: fewer than two pictures.
    """
    n = len(targets)
    if n < 2:
        raise ValueError(f"cannot hold a validation part out of {n} training pictures")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(SPLIT_SEED))
    if targets.ndim == 1:
        order = order[targets[order].argsort(stable=True)]
    # Every (1 / share)-th of the pictures in class order.
    ticks = (torch.arange(n + 1, dtype=torch.float64) * share + 1e-9).floor()
    held = ticks.diff() > 0
    if not held.any():
        held[n // 2] = True
    return order[held].sort().values, order[~held].sort().values


def multi_hot(labels: Sequence[Sequence[int]], num_labels: int) -> Tensor:
    """Lists of label indices as uint8 rows [n, num_labels]: a byte a label, or 300,000 pictures weigh too much."""
    rows = torch.zeros(len(labels), num_labels, dtype=torch.uint8)
    for row, positive in zip(rows, labels, strict=True):
        row[list(positive)] = 1
    return rows

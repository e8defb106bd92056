"""Batches of images of different sizes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MULTIPLE = 32  # what both sides of a batch are multiples of: the stride of the coarsest features


def pad_batch(samples: Sequence[tuple[Tensor, dict[str, Any]]]) -> tuple[Tensor, list[dict[str, Any]]]:
    """Images as one batch, filled up with zeros at the right and at the bottom, and their targets as a list.

    Args:
        samples: normalised images ``[3, height, width]`` and their targets, whose masks are filled up likewise.

    Returns:
        ``[B, 3, H, W]``, both sides the least multiples of 32 that hold every image, and the targets; each has the
        height and width of its image within the batch as ``size``.
    """
    sides = [max(image.shape[side] for image, _ in samples) for side in (-2, -1)]
    height, width = (-(-side // MULTIPLE) * MULTIPLE for side in sides)
    batch = samples[0][0].new_zeros(len(samples), samples[0][0].shape[0], height, width)
    targets = []
    for filled, (image, target) in zip(batch, samples, strict=True):
        filled[:, : image.shape[-2], : image.shape[-1]] = image
        targets.append(target | {"size": torch.tensor(image.shape[-2:])})
    return batch, targets

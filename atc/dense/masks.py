"""Masks of objects: what a small mask says of a whole image, and the small mask that a detector is to learn."""

import torch
from torch import Tensor
from torchvision.ops import roi_align

from atc.dense.boxes import wide


def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Put masks of boxes into images: bilinear between the centres of their pixels, zero outside.

    Args:
        masks: ``[n, m, m]`` probabilities.
        boxes: ``[n, 4]`` x0, y0, x1, y1 in pixels.
        size: height and width of the image.

    Returns:
        ``[n, height, width]``.

    Examples:
        >>> paste(torch.ones(1, 2, 2), torch.tensor([[1.0, 0.0, 3.0, 1.0]]), (1, 4)).tolist()
        [[[0.0, 1.0, 1.0, 0.0]]]
    """
    masks = wide(masks)
    x0, y0, x1, y1 = boxes.to(masks.dtype).unbind(dim=1)
    down = _weights(y0, y1, size[0], masks.shape[1])
    across = _weights(x0, x1, size[1], masks.shape[2])
    return down @ masks @ across.transpose(1, 2)


def _weights(first: Tensor, last: Tensor, pixels: int, cells: int) -> Tensor:
    """``[n, pixels, cells]``: how much each cell of a mask counts in each pixel, along one side."""
    places = torch.arange(pixels, device=first.device, dtype=first.dtype) + 0.5
    share = (places - first[:, None]) / (last - first)[:, None]  # 0 to 1 across the box
    share = torch.where(share.isinf(), 0.5, share)  # of a box without extent
    place = share * cells - 0.5
    cell = torch.arange(cells, device=first.device, dtype=first.dtype)
    return (1 - (place.unsqueeze(-1) - cell).abs()).clamp_min(0).nan_to_num(0.0)


def targets(masks: Tensor, boxes: Tensor, index: Tensor, side: int) -> Tensor:
    """What is to be learned of the objects in boxes: the part of their masks that lies there, on a small grid.

    Args:
        masks: ``[objects, height, width]``, 0 or 1.
        boxes: ``[n, 4]``.
        index: ``[n]`` int64, the object of each.
        side: cells along a side.

    Returns:
        ``[n, side, side]`` of 0 and 1.
    """
    if not len(boxes):
        return boxes.new_zeros(0, side, side)
    regions = torch.cat([index[:, None].to(boxes.dtype), boxes], dim=1)
    shares = roi_align(masks[:, None].to(boxes.dtype), regions, side, 1.0, sampling_ratio=-1, aligned=True)
    return (shares[:, 0] >= 0.5).to(boxes.dtype)

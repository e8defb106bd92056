"""Anchors, the coding of boxes, and who is matched with whom, as mmdet has them.

Boxes are x0, y0, x1, y1 in pixels, in float32 at least: half precision has no place for fractions of a pixel.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from typing_extensions import override

RATIOS = (0.5, 1.0, 2.0)  # height / width
MOST = math.log(1000 / 16)  # of the logarithm of how much wider or higher, or how much less so, a box becomes
SIDES = 32  # images are padded to multiples of this many pixels


def wide(x: Tensor) -> Tensor:
    """The tensor in float32, or in its own dtype where that is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class Anchors(AnchorGenerator):
    """Three boxes at every place of every level, of one area and three shapes; not rounded.

    The centre of the place in row i and column j lies at (j, i) times the stride of its level.

    Args:
        sizes: of each level, the side of its square anchor.
        strides: of each level, pixels from place to place.
    """

    def __init__(self, sizes: Sequence[float], strides: Sequence[int]):
        super().__init__(tuple((size,) for size in sizes), (RATIOS,) * len(sizes))
        self.strides = tuple(strides)

    @override
    def generate_anchors(
        self,
        scales: Any,
        aspect_ratios: Any,
        dtype: torch.dtype = torch.float64,
        device: torch.device | None = None,
    ) -> Tensor:
        """``[scales * ratios, 4]``, centred at 0."""
        sides = torch.as_tensor(scales, dtype=torch.float64, device="cpu")
        roots = torch.as_tensor(aspect_ratios, dtype=torch.float64, device="cpu").sqrt()
        width, height = (sides / roots[:, None]).flatten(), (sides * roots[:, None]).flatten()
        return torch.stack([-width, -height, width, height], dim=1) / 2

    @override
    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """``[n, 4]`` of each image: levels one after the other, places row by row, shapes of a place together."""
        levels = []
        for maps, stride, base in zip(feature_maps, self.strides, self.cell_anchors, strict=True):
            rows, columns = maps.shape[-2:]
            like = wide(maps.new_empty(0))
            shift_y = torch.arange(rows, device=like.device, dtype=like.dtype).mul(stride)
            shift_x = torch.arange(columns, device=like.device, dtype=like.dtype).mul(stride)
            y, x = torch.meshgrid(shift_y, shift_x, indexing="ij")
            shifts = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
            levels.append((shifts + base.to(like.device, like.dtype)).reshape(-1, 4))
        return [torch.cat(levels)] * len(image_list.image_sizes)

    def inside(self, size: tuple[int, int], feature_maps: Sequence[Tensor]) -> Tensor:
        """``[n]`` bool: which anchors stand at places within an image that is padded by itself.

        Args:
            size: height and width of the image, before padding.
            feature_maps: of the batch that it is part of.
        """
        height, width = (-(-side // SIDES) * SIDES for side in size)
        levels = []
        for maps, stride, base in zip(feature_maps, self.strides, self.cell_anchors, strict=True):
            rows, columns = maps.shape[-2:]
            y = torch.arange(rows, device=maps.device) * stride < height
            x = torch.arange(columns, device=maps.device) * stride < width
            levels.append((y[:, None] & x).flatten().repeat_interleave(len(base)))
        return torch.cat(levels)


class Coder:
    """Boxes as changes of others: of the centre in widths and heights, and of the logarithms of these.

    Args:
        weights: by which the changes of x, y, width and height are multiplied.
    """

    def __init__(self, weights: tuple[float, float, float, float]):
        self.weights = weights

    def encode(self, goals: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """``[n, 4]`` boxes of each image, and those that they are to become -> ``[sum of n, 4]`` changes."""
        x, y, width, height = _centred(torch.cat(list(boxes)))
        goal_x, goal_y, goal_width, goal_height = _centred(torch.cat(list(goals)))
        across, down = (goal_x - x) / width, (goal_y - y) / height
        changes = [across, down, (goal_width / width).log(), (goal_height / height).log()]
        return torch.stack(changes, dim=1) * self._weights(changes[0])

    def decode(self, changes: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        """``[sum of n, 4 * classes]`` changes of ``[n, 4]`` boxes of each image -> ``[sum of n, classes, 4]`` boxes.

        Sides change by no more than a factor of 1000 / 16, up or down.
        """
        changes = wide(changes)
        x, y, width, height = (one.unsqueeze(1) for one in _centred(torch.cat(list(boxes)).to(changes.dtype)))
        across, down, wider, higher = (
            changes.unflatten(1, (changes.shape[1] // 4, 4)) / self._weights(changes)
        ).unbind(dim=-1)
        x, y = x + across * width, y + down * height
        half_width = width * wider.clamp(-MOST, MOST).exp() / 2
        half_height = height * higher.clamp(-MOST, MOST).exp() / 2
        return torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], dim=-1)

    def _weights(self, like: Tensor) -> Tensor:
        return torch.tensor(self.weights, dtype=like.dtype, device=like.device)


def _centred(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``[n, 4]`` -> the centres' x and y, widths and heights."""
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


BACKGROUND, NEITHER = -1, -2  # what is matched with no object, and what is left out


class Matcher:
    """Matches each box with the object that it overlaps most, and each object with the boxes that overlap it most.

    The second goes first: an object's best boxes become its own even where they overlap another more, if they overlap
    it by `least`; of two objects with the same best box, the later gets it.

    Args:
        high: overlap (intersection over union) from which a box is matched.
        low: overlap below which it is background; between the two it is neither.
        least: overlap that an object's best box needs.
    """

    def __init__(self, high: float, low: float, least: float):
        self.high, self.low, self.least = high, low, least

    def __call__(self, overlaps: Tensor) -> Tensor:
        """``[objects, boxes]`` overlaps -> ``[boxes]`` int64, the object of each box, `BACKGROUND` or `NEITHER`."""
        objects, boxes = overlaps.shape
        if not objects or not boxes:
            return torch.full((boxes,), BACKGROUND, dtype=torch.int64, device=overlaps.device)
        most, matched = overlaps.max(dim=0)
        matched = matched.masked_fill(most < self.high, NEITHER).masked_fill(most < self.low, BACKGROUND)
        best = overlaps.amax(dim=1, keepdim=True)
        own = (overlaps == best) & (best >= self.least)
        number = torch.arange(1, objects + 1, device=own.device).unsqueeze(1)
        last = (own * number).amax(dim=0)
        return torch.where(last > 0, last - 1, matched)

"""Anchors, the coding of boxes, and who is matched with whom, as mmdet has them.

Boxes are x0, y0, x1, y1 in pixels, in float32 at least: half precision has no place for fractions of a pixel.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from typing_extensions import override

RATIOS = (0.5, 1.0, 2.0)  # height / width
MOST = math.log(1000 / 16)  # of the logarithm of how much wider or higher a box becomes
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


class Coder(BoxCoder):
    """Torchvision's, with the changes of sides bounded from below as well.

    Args:
        weights: by which changes of x, y, width and height are multiplied when they are encoded.
    """

    def __init__(self, weights: tuple[float, float, float, float]):
        super().__init__(weights, MOST)

    @override
    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """``[n, 4 * classes]`` changes of ``[n, 4]`` boxes -> ``[n, 4 * classes]`` boxes."""
        codes = wide(rel_codes)
        limit = MOST * torch.tensor(self.weights[2:], dtype=codes.dtype, device=codes.device)
        changes = codes.reshape(len(codes), -1, 4)
        sides = torch.minimum(torch.maximum(changes[..., 2:], -limit), limit)
        bounded = torch.cat([changes[..., :2], sides], dim=-1).reshape(codes.shape)
        return super().decode_single(bounded, wide(boxes))


class LowQualityMatcher(Matcher):
    """Matches each box with the object that it overlaps most, and each object with the boxes that overlap it most.

    The second goes first: an object's best boxes become its own even where they overlap another more, if they overlap
    it by `least`; of two objects with the same best box, the later gets it.

    Args:
        high: overlap (intersection over union) from which a box is matched.
        low: overlap below which it is background; between the two it is neither.
        least: overlap that an object's best box needs.
    """

    def __init__(self, high: float, low: float, least: float):
        super().__init__(high, low, allow_low_quality_matches=True)
        self.least = least

    @override
    def __call__(self, match_quality_matrix: Tensor) -> Tensor:
        """``[objects, boxes]`` overlaps -> ``[boxes]`` int64, the object of each box; -1 background, -2 neither."""
        if not match_quality_matrix.shape[0]:
            return torch.full(
                match_quality_matrix.shape[1:],
                self.BELOW_LOW_THRESHOLD,
                dtype=torch.int64,
                device=match_quality_matrix.device,
            )
        if not match_quality_matrix.shape[1]:
            return torch.empty(0, dtype=torch.int64, device=match_quality_matrix.device)
        return super().__call__(match_quality_matrix)

    @override
    def set_low_quality_matches_(self, matches: Tensor, all_matches: Tensor, match_quality_matrix: Tensor) -> None:
        """Give each object its best boxes."""
        best = match_quality_matrix.amax(dim=1, keepdim=True)
        own = (match_quality_matrix == best) & (best >= self.least)
        number = torch.arange(1, len(own) + 1, device=own.device).unsqueeze(1)
        last = (own * number).amax(dim=0)
        matches[last > 0] = last[last > 0] - 1

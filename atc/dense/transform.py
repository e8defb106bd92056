"""From images of any size to a batch for a detector, and from what it finds back to the images."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import clip_boxes_to_image
from typing_extensions import override

from atc.dense.boxes import SIDES
from atc.dense.masks import paste

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for pixels in [0, 1]


class Resized(GeneralizedRCNNTransform):
    """Normalises and resizes images, pads them to a batch, and puts boxes and masks back into the images.

    Images are resized as mmdet and OpenCV do it: to the largest size within the bounds, sides rounded to the nearest
    pixel, bilinear without antialiasing.

    Args:
        min_size: pixels that the shorter side gets, if the longer allows; None leaves images as they are.
        max_size: pixels that the longer side gets at most.
    """

    def __init__(self, min_size: int | None, max_size: int):
        super().__init__(min_size or 1, max_size, list(MEAN), list(STD), size_divisible=SIDES)
        self.keeps_size = min_size is None

    @override
    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """One image ``[3, height, width]``, and its `boxes` and `masks` if there is a target."""
        height, width = image.shape[-2:]
        size = (height, width) if self.keeps_size else resized(height, width, self.min_size[-1], self.max_size)
        if size == (height, width):
            return image, target
        image = F.interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]
        if target is None:
            return image, None
        boxes = clip_boxes_to_image(_scaled(target["boxes"], (height, width), size), size)
        changed = {**target, "boxes": boxes}
        if "masks" in target:
            changed["masks"] = F.interpolate(target["masks"][:, None].float(), size=size, mode="nearest")[:, 0].byte()
        return image, changed

    @override
    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: Sequence[tuple[int, int]],
        original_image_sizes: Sequence[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Boxes in pixels of the original images, and masks ``[n, 1, height, width]`` of them."""
        for found, size, original in zip(result, image_shapes, original_image_sizes, strict=False):
            found["boxes"] = _scaled(found["boxes"], size, original)
            if "masks" in found:
                height, width = (int(side) for side in original)
                found["masks"] = paste(found["masks"][:, 0], found["boxes"], (height, width))[:, None]
        return result


def resized(height: int, width: int, short: int, long: int) -> tuple[int, int]:
    """The size of an image within bounds of its sides.

    Examples:
        >>> resized(480, 640, 800, 1333), resized(100, 400, 800, 1333)
        ((800, 1067), (333, 1333))
    """
    scale = min(long / max(height, width), short / min(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def _scaled(boxes: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Boxes of an image of one size in the image of another."""
    factors = [new[1] / old[1], new[0] / old[0]] * 2
    return boxes * torch.tensor(factors, dtype=boxes.dtype, device=boxes.device)

"""Detection's transforms as settings: an image with boxes and masks, at several scales, by torchvision's transforms.

A sample is an image, uint8 [3, height, width], and a target with `boxes`, `labels` and `masks` as
`datamodules.io.annotated.objects_of` makes them. What comes out is float32, normalised, and not padded yet.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from datamodules.io.ranges import Share

Sample = tuple[Tensor, dict[str, Tensor]]
Transform = Callable[[Tensor, dict[str, Tensor]], Sample]


@dataclass(frozen=True)
class MultiScale:
    """The two policies that detectors on COCO are trained with since DETR, and one scale to evaluate at.

    In training an image is mirrored with probability `hflip`; then, with even chances, it is either resized to one of
    `short_sides`, or resized to one of `first_sides`, cropped to a part between the two sides of `crop`, and resized
    to one of `short_sides`; no more than `max_crop` pixels of each side are kept. Boxes are clipped to a crop, and
    dropped where nothing of them is left. Pixels are interpolated without antialiasing, as OpenCV does.

    short_sides, first_sides: pixels; long_side: the most pixels of the long side; crop: fewest and most pixels of
    either side; eval_short_side, eval_long_side: likewise in evaluations.
    """

    short_sides: Sequence[int] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    first_sides: Sequence[int] = (400, 500, 600)
    crop: Sequence[int] = (384, 600)
    long_side: int = 1333
    max_crop: int = 1024
    hflip: Share = 0.5
    eval_short_side: int = 800
    eval_long_side: int = 1333

    def __post_init__(self) -> None:
        """Refuse sides that are none."""
        for name in ("short_sides", "first_sides", "crop", "long_side", "max_crop", "eval_short_side"):
            value = getattr(self, name)
            sides = list(value) if isinstance(value, Sequence) else [value]
            if not sides or not all(type(side) is int and 1 <= side <= 16384 for side in sides):
                raise ValueError(f"datamodule.transforms.{name}={value}: sides are whole numbers of pixels, 1 to 16384")
        if len(self.crop) != 2 or self.crop[0] > self.crop[1]:
            raise ValueError(f"datamodule.transforms.crop={list(self.crop)} is not [fewest, most] pixels of a side")
        longest = max(*self.short_sides, *self.first_sides)
        if self.long_side < longest:
            raise ValueError(f"datamodule.transforms.long_side={self.long_side} is less than a short side of {longest}")
        if self.eval_long_side < self.eval_short_side:
            raise ValueError(
                f"datamodule.transforms.eval_long_side={self.eval_long_side} is less than "
                f"eval_short_side={self.eval_short_side}"
            )

    def train(self, data: Mapping[str, Any]) -> Transform:
        """Mirror, resize, perhaps crop and resize again, crop, normalise.

        Args:
            data: timm's data config of the backbone, of which mean and std are taken.
        """
        normalise = normalising(data)

        def transform(image: Tensor, target: dict[str, Tensor]) -> Sample:
            if float(torch.rand(())) < self.hflip:
                image, target = F.horizontal_flip(image), _each(F.horizontal_flip, target)
            if float(torch.rand(())) < 0.5:
                image, target = resize(image, target, _one_of(self.first_sides), self.long_side)
                fewest, most = self.crop
                sides = [_between(min(side, fewest), min(side, most)) for side in image.shape[-2:]]
                image, target = crop(image, target, sides)
            image, target = resize(image, target, _one_of(self.short_sides), self.long_side)
            image, target = crop(image, target, [min(side, self.max_crop) for side in image.shape[-2:]])
            return normalise(image), target

        return transform

    def eval(self, data: Mapping[str, Any]) -> Transform:
        """Resize, normalise.

        Args:
            data: as of `train`.
        """
        normalise = normalising(data)

        def transform(image: Tensor, target: dict[str, Tensor]) -> Sample:
            image, target = resize(image, target, self.eval_short_side, self.eval_long_side)
            return normalise(image), target

        return transform


def normalising(data: Mapping[str, Any]) -> v2.Transform:
    """From uint8 to float32 with the backbone's mean and standard deviation."""
    to_float = v2.ToDtype(torch.float32, scale=True)
    return v2.Compose([to_float, v2.Normalize(list(data["mean"]), list(data["std"]))])


def resize(image: Tensor, target: dict[str, Tensor], short_side: int, long_side: int) -> Sample:
    """As large as both sides allow: the shorter one `short_side`, the longer one at most `long_side` pixels.

    Args:
        image: ``[3, height, width]``.
        target: with boxes and masks, or empty.
        short_side: pixels.
        long_side: pixels.

    Returns:
        Both; boxes times what each side was really multiplied by, clipped to the image.
    """
    height, width = image.shape[-2:]
    scale = min(long_side / max(height, width), short_side / min(height, width))
    size = [max(1, int(side * scale + 0.5)) for side in (height, width)]
    if size == [height, width]:
        return image, target
    image = F.resize(image, size, v2.InterpolationMode.BILINEAR, antialias=False)
    target = _each(lambda value: F.resize(value, size), target)
    if "boxes" in target:
        target["boxes"] = F.clamp_bounding_boxes(target["boxes"])
    return image, target


def crop(image: Tensor, target: dict[str, Tensor], sides: Sequence[int]) -> Sample:
    """A part of `sides` = (height, width) pixels at a place of chance, and the objects with a box inside."""
    spare = [have - want for have, want in zip(image.shape[-2:], sides, strict=True)]
    top, left = (_between(0, most) for most in spare)
    if not any(spare):
        return image, target
    image = F.crop(image, top, left, *sides)
    target = _each(lambda value: F.crop(value, top, left, *sides), target)
    if "boxes" in target:
        boxes = F.clamp_bounding_boxes(target["boxes"])
        kept = ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])).nonzero()[:, 0]
        target = {name: tv_tensors.wrap(value[kept], like=value) for name, value in (target | {"boxes": boxes}).items()}
    return image, target


def _each(change: Callable[[Tensor], Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """A target whose boxes and masks are changed; labels have no place in the image."""
    return {name: value if name == "labels" else change(value) for name, value in target.items()}


def _between(low: int, high: int) -> int:
    """A whole number of chance, both ends included."""
    return int(torch.randint(low, high + 1, ()))


def _one_of(values: Sequence[int]) -> int:
    return values[_between(0, len(values) - 1)]

"""Scaling and cropping of pictures with a label for each pixel.

A transform takes a uint8 image [3, height, width] and labels [height, width]; the image becomes float32, normalised.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from datamodules.io.labels import IGNORED
from datamodules.io.ranges import Share, Side
from datamodules.multi_scale import normalising

Labelled = tuple[Tensor, Tensor]
Transform = Callable[[Tensor, Tensor], Labelled]
TRIES = 10  # for a crop in which no class has too large a share


@dataclass(frozen=True)
class Crops:
    """How linear heads on ADE20K are trained: scaled at random, cropped, mirrored, colours changed.

    In training, the shorter side of a picture becomes `short_side` times a number between the two `scales`; a square of
    `crop` pixels is cut out, up to ten times anew while one class has more than `most_of_one` of its labelled pixels;
    it is mirrored with probability `hflip`; brightness, contrast, saturation and hue change, each with probability
    `colour`; what a crop is too small for is filled up with zeros, labelled 255. Pixels are interpolated without
    antialiasing, as OpenCV does; labels are taken from the nearest pixel.

    In evaluations the shorter side becomes `short_side`, and labels stay as they are.

    short_side, crop: pixels, None = what the backbone takes; scales: least and greatest.
    """

    short_side: Side | None = None
    crop: Side | None = None
    scales: Sequence[float] = (0.5, 2.0)
    most_of_one: Share = 0.75
    hflip: Share = 0.5
    colour: Share = 0.5

    def __post_init__(self) -> None:
        """Refuse scales that are none."""
        numbers = [value for value in self.scales if isinstance(value, int | float) and not isinstance(value, bool)]
        if len(numbers) != 2 or len(self.scales) != 2 or not 0 < numbers[0] <= numbers[1] <= 16:
            raise ValueError(
                f"datamodule.transforms.scales={list(self.scales)} is not [least, greatest], two numbers in (0, 16]"
            )

    def train(self, data: Mapping[str, Any]) -> Transform:
        """Scale, crop, mirror, change colours, normalise, fill up.

        Args:
            data: timm's data config of the backbone: its size, mean and std.
        """
        normalise, own = normalising(data), int(min(data["input_size"][-2:]))
        short, side = self.short_side or own, self.crop or own
        changes = [
            v2.RandomApply([v2.ColorJitter(**{name: amount})], p=self.colour)
            for name, amount in (("brightness", 32 / 255), ("contrast", 0.5), ("saturation", 0.5), ("hue", 0.1))
        ]

        def transform(image: Tensor, labels: Tensor) -> Labelled:
            low, high = self.scales
            image, labels = resize(image, short * (low + (high - low) * float(torch.rand(()))), labels)
            image, labels = crop(image, labels, side, self.most_of_one)
            if float(torch.rand(())) < self.hflip:
                image, labels = F.horizontal_flip(image), F.horizontal_flip(labels)
            for change in changes:
                image = change(image)
            right, below = (max(0, side - have) for have in (image.shape[-1], image.shape[-2]))
            padding = [0, 0, right, below]
            return F.pad(normalise(image), padding), F.pad(labels, padding, fill=IGNORED)

        return transform

    def eval(self, data: Mapping[str, Any]) -> Transform:
        """Scale, normalise.

        Args:
            data: as of `train`.
        """
        normalise = normalising(data)
        short = self.short_side or int(min(data["input_size"][-2:]))

        def transform(image: Tensor, labels: Tensor) -> Labelled:
            return normalise(resize(image, short)[0]), labels

        return transform


def resize(image: Tensor, short_side: float, labels: Tensor | None = None) -> Any:
    """Scale so that the shorter side has `short_side` pixels, to the nearest whole ones.

    Args:
        image: ``[3, height, width]``.
        short_side: pixels.
        labels: ``[height, width]``, or None.

    Returns:
        Both.
    """
    height, width = image.shape[-2:]
    scale = short_side / min(height, width)
    size = [max(1, int(side * scale + 0.5)) for side in (height, width)]
    if size == [height, width]:
        return image, labels
    image = F.resize(image, size, v2.InterpolationMode.BILINEAR, antialias=False)
    return image, labels if labels is None else F.resize(labels, size, v2.InterpolationMode.NEAREST)


def crop(image: Tensor, labels: Tensor, side: int, most_of_one: float) -> Labelled:
    """A square of `side` pixels, or what there is of it, at a place of chance; see `Crops`."""
    sides = [min(side, have) for have in image.shape[-2:]]
    top, left = 0, 0
    for _ in range(TRIES):
        top, left = (
            int(torch.randint(0, have - want + 1, ())) for have, want in zip(image.shape[-2:], sides, strict=True)
        )
        part = labels[..., top : top + sides[0], left : left + sides[1]].as_subclass(Tensor)
        counts = part[part != IGNORED].long().bincount()
        if (counts > 0).sum() > 1 and counts.max() < most_of_one * counts.sum():
            break
    return (
        F.crop(image, top, left, *sides),
        tv_tensors.Mask(F.crop(labels, top, left, *sides)),
    )

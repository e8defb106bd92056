"""Training and evaluation transforms of the papers, as settings: PIL image -> normalised float32 [3, size, size]."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from PIL import Image
from timm.data import auto_augment as timm_policies
from timm.data import create_transform
from timm.data.auto_augment import augment_and_mix_transform, auto_augment_transform, rand_augment_transform
from timm.data.transforms import str_to_interp_mode
from torch import Tensor
from torchvision import transforms

from datamodules.io.ranges import Share, Side, Strength

Transform = Callable[[Image.Image], Tensor]
Interpolation = Literal["bicubic", "bilinear", "nearest", "lanczos", "hamming", "box", "random"]


def posterize(image: Image.Image, bits_to_keep: int, **settings: Any) -> Image.Image:
    """Posterize as timm does, and to black for the 0 bits of its policies, which Pillow refuses from version 13 on."""
    if bits_to_keep < 1:
        return Image.new(image.mode, image.size)
    return timm_policies.posterize(image, bits_to_keep, **settings)


timm_policies.NAME_TO_OP.update(dict.fromkeys(("Posterize", "PosterizeIncreasing", "PosterizeOriginal"), posterize))


class Transforms(Protocol):
    """Settings that become transforms once the backbone is known.

    data: timm's data config of the backbone, of which input_size, mean and std are taken.
    """

    def train(self, data: Mapping[str, Any]) -> Transform:
        """The transform of pictures to train on."""
        ...

    def eval(self, data: Mapping[str, Any]) -> Transform:
        """The transform of pictures to evaluate on."""
        ...


@dataclass(frozen=True)
class Crop:
    """Random resized crop and flip to train, centre crop to evaluate: ImageNet, NABirds and the like.

    size: pixels per side, None = what the backbone takes; auto_augment: timm's policy string, None = colour jitter
    of strength `color_jitter` instead; random_erasing: its probability; crop_pct: the share of the short side that
    the centre crop takes (DeiT and both papers: .875; timm's own DeiT config says .9).
    """

    size: Side | None = None
    auto_augment: str | None = None
    color_jitter: Strength | None = None
    random_erasing: Share = 0.0
    scale: tuple[Share, Share] = (0.08, 1.0)
    hflip: Share = 0.5
    crop_pct: Annotated[float, "(0, 1]"] = 0.875
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        """Refuse a policy that timm does not know."""
        _check_policy(self.auto_augment)

    def train(self, data: Mapping[str, Any]) -> Transform:
        """Crop, flip, auto-augment or jitter, normalise, erase."""
        low, high = self.scale
        jitter: Any = self.color_jitter  # None: none, which timm's annotation leaves out
        return create_transform(
            **_target(self, data),
            is_training=True,
            scale=(low, high),
            hflip=self.hflip,
            auto_augment=self.auto_augment,
            color_jitter=jitter,
            re_prob=self.random_erasing,
            re_mode="pixel",
        )

    def eval(self, data: Mapping[str, Any]) -> Transform:
        """Short side to size / crop_pct, centre crop, normalise."""
        return create_transform(**_target(self, data), is_training=False, crop_pct=self.crop_pct)


@dataclass(frozen=True)
class Squash:
    """The whole picture to a square, whatever its shape: COCO and NUS-WIDE, whose labels a crop could cut off.

    size: pixels per side, None = what the backbone takes; cutout: side of the rectangle painted over, in sides of
    the picture, 0 = none; auto_augment: timm's policy string, None = none. No flip, no crop, no erasing.
    """

    size: Side | None = None
    cutout: Share = 0.5
    auto_augment: str | None = "rand-m9-mstd0.5-inc1"
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        """Refuse a policy that timm does not know."""
        _check_policy(self.auto_augment)

    def train(self, data: Mapping[str, Any]) -> Transform:
        """Resize, cutout, auto-augment, normalise: in this order."""
        # timm composes the last two steps; its first, the crop and flip, is what we replace.
        options: dict[str, Any] = {**_target(self, data), "color_jitter": None}  # None: none, as in `Crop`
        _, augment, finish = create_transform(
            **options, is_training=True, auto_augment=self.auto_augment, separate=True
        )
        steps = [self._resize(data), Cutout(self.cutout), augment, finish]
        return transforms.Compose(steps)

    def eval(self, data: Mapping[str, Any]) -> Transform:
        """Resize, normalise."""
        finish = [transforms.ToTensor(), transforms.Normalize(data["mean"], data["std"])]
        return transforms.Compose([self._resize(data), *finish])

    def _resize(self, data: Mapping[str, Any]) -> transforms.Resize:
        size = _target(self, data)["input_size"]
        sides = (size, size) if isinstance(size, int) else size
        return transforms.Resize(sides, str_to_interp_mode(self.interpolation))


class Cutout:
    """Paint one rectangle of a random colour over a PIL image; its centre is uniform, what sticks out is cut off.

    As in the released code of ASL (arXiv 2009.14119).

    Args:
        share: its sides, in sides of the picture.

    Raises:
        ValueError: a share that is not within 0..1.
    """

    def __init__(self, share: float):
        if not 0 <= share <= 1:
            raise ValueError(f"cutout={share} is not within 0..1")
        self.share = share

    def __call__(self, image: Image.Image) -> Image.Image:
        """A copy of the picture, painted over; the picture itself where `share` is 0."""
        if not self.share:
            return image
        image = image.copy()
        edges = []
        for side in image.size:
            length, centre = int(self.share * side + 0.5), random.randrange(side)
            start = centre - length // 2
            edges.append((max(0, start), min(side, start + length)))
        (left, right), (top, bottom) = edges
        image.paste(tuple(random.randrange(256) for _ in range(3)), (left, top, right, bottom))
        return image


def _check_policy(policy: str | None) -> None:
    """ValueError for a policy that timm does not know: it would say so, less clearly, when training starts."""
    if not policy:
        return
    try:
        kind = policy.split("-")[0]
        made = {"rand": rand_augment_transform, "augmix": augment_and_mix_transform}.get(kind, auto_augment_transform)
        made(policy, {"translate_const": 100})  # not nothing, which older versions share and change
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"datamodule.transforms.auto_augment={policy} is no policy of timm's, such as rand-m9-mstd0.5-inc1, "
            f"augmix-m5-w4 or original; null is none"
        ) from error


def _sides(data: Mapping[str, Any]) -> int | tuple[int, int]:
    """Pixels per side of the backbone's pictures, or height and width where they differ."""
    height, width = map(int, data["input_size"][-2:])
    return height if height == width else (height, width)


def _target(settings: Crop | Squash, data: Mapping[str, Any]) -> dict[str, Any]:
    """What every transform of timm is given of the backbone."""
    return {
        "input_size": settings.size or _sides(data),
        "interpolation": settings.interpolation,
        "mean": tuple(data["mean"]),
        "std": tuple(data["std"]),
    }

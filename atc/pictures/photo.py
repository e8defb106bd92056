"""One image, as the network sees it and as it is drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from hydra.utils import get_method
from PIL import Image, ImageOps
from torch import Tensor

from atc.pictures.regions import Pixels
from atc.pictures.settings import existing_image

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
READ = "datamodules.io.pictures.read_rgb"  # bound by name, as data sets are
_LARGEST = 3  # drawn at up to so many times the network's resolution, where the file has the pixels


class Photo(NamedTuple):
    """An image and the network's view of it."""

    name: str
    drawn: Pixels  # [H * k, W * k, 3]
    seen: Tensor  # [1, 3, H, W], normalised


def opened(path: str | Path) -> Image.Image:
    """An image file as RGB, upright, read as data sets read theirs.

    FileNotFoundError if there is none, ValueError if it is not an image.
    """
    return get_method(READ)(existing_image(path))


def from_picture(picture: Image.Image, data_config: Mapping[str, Any], name: str) -> Photo:
    """The largest centred part of a picture with the shape the backbone takes.

    Args:
        picture: of any mode.
        data_config: timm's, of the backbone: input_size, mean, std, interpolation. Its crop_pct is not applied: the
            whole side is shown.
        name: of the photograph, for titles.
    """
    _, height, width = data_config["input_size"]
    kind = _FILTERS.get(str(data_config.get("interpolation")), Image.Resampling.BICUBIC)
    times = max(1, min(_LARGEST, picture.height // height, picture.width // width))
    drawn = np.asarray(ImageOps.fit(picture, (width * times, height * times), kind))
    seen = np.array(ImageOps.fit(picture, (width, height), kind))
    mean, std = _statistics(data_config)
    pixels = torch.from_numpy(seen).permute(2, 0, 1).float() / 255
    return Photo(name, drawn, ((pixels - mean) / std)[None])


def from_data_set(datamodule: Any, part: str, index: int, data_config: Mapping[str, Any], name: str) -> Photo:
    """Image `index` of the "test" or "val" part of a data module; ValueError if it has no such image."""
    if part not in ("test", "val"):
        raise ValueError(f"part={part} must be test or val: training images are augmented anew every time")
    datamodule.adapt(data_config)
    datamodule.prepare_data()
    datamodule.setup("test" if part == "test" else "validate")
    images = getattr(datamodule, f"{part}_dataloader")().dataset
    if not 0 <= index < len(images):
        raise ValueError(f"index={index}: the {part} part has images 0 to {len(images) - 1}")
    seen = images[index][0][None]
    return Photo(name, unnormalised(seen, data_config)[0], seen)


def unnormalised(seen: Tensor, data_config: Mapping[str, Any]) -> Pixels:
    """Images as the network sees them, [B, 3, H, W] on any device -> [B, H, W, 3] uint8."""
    mean, std = _statistics(data_config)
    pixels = (seen.detach().float().cpu() * std + mean).clamp(0, 1) * 255
    return pixels.round().byte().permute(0, 2, 3, 1).numpy()


def _statistics(data_config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    return torch.tensor(data_config["mean"])[:, None, None], torch.tensor(data_config["std"])[:, None, None]

"""From a picture in a file to the 299 x 299 pixels that Inception looks at, as two libraries do it."""

from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

SIDE = 299
RESIZERS = ("clean", "torch_fidelity")
_WIDE = ("I", "F")  # modes, and beginnings of modes, of more than 8 bits, which `convert` would cut off

Pixels = NDArray[Any]


def read_rgb(path: str | PathLike[str]) -> NDArray[np.uint8]:
    """The picture in a file, as clean-fid reads it: by Pillow, converted to RGB.

    Of transparency nothing is left, and a picture is not turned as its EXIF orientation says.

    Args:
        path: the file.

    Returns:
        [height, width, 3].

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read; one line that names it.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith(_WIDE):
                raise ValueError(f"its pixels have more than 8 bits (mode {image.mode})")
            return np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        said = "not a picture" if isinstance(error, UnidentifiedImageError) else str(error)
        raise ValueError(f"{path} cannot be read: {said}") from error


def clean(picture: Pixels) -> NDArray[np.float32]:
    """The resizer "clean" of clean-fid: each channel by Pillow's bicubic filter in float32, antialiased, not rounded.

    Args:
        picture: [height, width, 3], 0..255.

    Returns:
        [299, 299, 3], 0..255.
    """
    channels = [
        np.asarray(Image.fromarray(channel).resize((SIDE, SIDE), Image.Resampling.BICUBIC)).clip(0, 255)
        for channel in np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32)
    ]
    return np.stack(channels, axis=-1)


def torch_fidelity(picture: Pixels) -> NDArray[np.float32]:
    """The resizer of torch-fidelity: bilinear as TensorFlow 1 did it, neither antialiased nor centred.

    Arguments and result are those of `clean`.
    """
    x = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32))
    top, bottom, down = _between(x.shape[1])
    left, right, across = _between(x.shape[2])
    above, below = x[:, top], x[:, bottom]
    above = above[:, :, left] + (above[:, :, right] - above[:, :, left]) * across
    below = below[:, :, left] + (below[:, :, right] - below[:, :, left]) * across
    return (above + (below - above) * down[:, None]).permute(1, 2, 0).numpy()


def _between(side: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of 299 places along a side: the pixel before, the one behind, and how far between them."""
    place = torch.arange(SIDE, dtype=torch.float32) * torch.tensor(side / SIDE, dtype=torch.float32)
    before = place.long()
    return before, (before + 1).clamp_max(side - 1), place - before.float()


def resized(path: str | PathLike[str], resizer: str) -> NDArray[np.float32]:
    """The picture in a file as float32 [299, 299, 3], 0..255; see `read_rgb` and RESIZERS."""
    return (clean if resizer == "clean" else torch_fidelity)(read_rgb(path))

"""The merging of one image as an animated GIF, several methods side by side."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from atc.files import whole_file
from atc.pictures import drawing
from atc.pictures.order import History, moments, replay
from atc.pictures.regions import Pixels

_CLEAR = 255  # palette entry that leaves a pixel as it was
_GAP, _BAND = 12, 44  # pixels between methods, and of the band of text under each


class Part(NamedTuple):
    """One method in the animation."""

    title: str
    photo: Pixels  # [H, W, 3]
    history: History


def frames(parts: Sequence[Part], per_stage: int = 24, side: int = 336) -> list[Image.Image]:
    """Pictures from the untouched image to the last token, `per_stage` of them for each stage.

    Methods are in step with each other: a stage begins and ends in the same frame for all. `side` is the least
    length of a picture's longer side in pixels. ValueError for no parts or `per_stage` below 1.
    """
    if not parts or per_stage < 1:
        raise ValueError(f"an animation needs a method and at least one frame per stage, got per_stage={per_stage}")
    times = [moments(part.history, per_stage) for part in parts]
    longest = max(map(len, times))
    photos = [drawing.enlarged(part.photo, part.history.grid, side) for part in parts]
    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 13)
    sheets = []
    for number in range(longest):
        sheet = Image.new("RGB", _sheet_size(photos), "white")
        left = 0
        for part, photo, steps in zip(parts, photos, times, strict=True):
            source = replay(part.history, steps[min(number, len(steps) - 1)])
            picture = drawing.outlined(drawing.detailed(photo, source, part.history.grid), source, part.history.grid)
            sheet.paste(Image.fromarray(picture), (left, 0))
            text = f"{part.title}\n{_count(int(source.max()) + 1)}"
            ImageDraw.Draw(sheet).multiline_text((left + 2, photo.shape[0] + 5), text, fill="black", font=font)
            left += photo.shape[1] + _GAP
        sheets.append(sheet)
    return sheets


def save(sheets: Sequence[Image.Image], path: Path, milliseconds: int = 80, pause: int = 25) -> None:
    """Write frames as an endless GIF, whole or not at all; the first and the last stay for `pause` frames.

    ValueError for times that a GIF cannot hold: it counts hundredths of a second, up to 65,535.
    """
    if milliseconds < 10 or pause < 1 or milliseconds * pause > 655_350:
        raise ValueError(f"frames of {milliseconds} ms, {pause} for a pause: a GIF has from 10 to 655,350 ms for each")
    # One palette for all frames, so that nothing flickers: between the ends there are only mixtures of their colours.
    ends = Image.fromarray(np.concatenate([np.asarray(sheets[0]), np.asarray(sheets[-1])]))
    palette = ends.quantize(_CLEAR, method=Image.Quantize.MAXCOVERAGE, kmeans=1)
    drawn = [np.asarray(sheet.quantize(palette=palette, dither=Image.Dither.NONE)) for sheet in sheets]
    # What stays as it was is left out of a frame: a tenth of the size.
    changes = [drawn[0]] + [np.where(now == before, _CLEAR, now) for before, now in itertools.pairwise(drawn)]
    images = []
    for pixels in changes:
        images.append(Image.fromarray(pixels.astype(np.uint8), "P"))
        images[-1].putpalette(palette.getpalette() or [])
    duration = [milliseconds] * len(images)
    duration[0] = duration[-1] = milliseconds * pause
    with whole_file(path) as file:
        images[0].save(
            file, "GIF", save_all=True, append_images=images[1:], duration=duration, loop=0, transparency=_CLEAR,
            disposal=1, optimize=False,
        )  # fmt: skip


def _sheet_size(photos: Sequence[Pixels]) -> tuple[int, int]:
    width = sum(photo.shape[1] for photo in photos) + _GAP * (len(photos) - 1)
    return width, max(photo.shape[0] for photo in photos) + _BAND


def _count(tokens: int) -> str:
    return f"{tokens} token" + "s" * (tokens != 1)

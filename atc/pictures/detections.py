"""What is in an image, what a detector finds there, and which tokens it had to find it by, side by side."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from timm.data import resolve_model_data_config
from torch import Tensor
from torch.nn import functional as F

from atc.dense import drawing as objects_drawing
from atc.dense import ground_truth
from atc.pictures import drawing
from atc.pictures.photo import unnormalised
from atc.pictures.regions import Pixels, per_pixel
from atc.pictures.snapshots import snapshots

_SIDE = 512  # pixels of the longer side of a panel
_GAP, _TITLE = 8, 24


class Shown(NamedTuple):
    """A row of panels.

    Attributes:
        picture: ``[H, W, 3]`` uint8.
        caption: what is to be said of it.
    """

    picture: Pixels
    caption: str


def rows(
    model: Any,
    batch: tuple[Tensor, Sequence[Mapping[str, Any]]],
    found: Sequence[Mapping[str, Tensor]],
    annotations: Mapping[int, Sequence[Mapping[str, Any]]],
    categories: Sequence[Mapping[str, Any]],
    *,
    stages: Sequence[int],
    threshold: float,
) -> list[Shown]:
    """Of each image of a batch, a row: what is annotated, what is found, and the tokens after each reduction.

    Args:
        model: the detector, which has the trace of this batch.
        batch: images, normalised and padded, and their targets, as `atc.tasks.detection.Detection` takes them.
        found: what the detector returned for them.
        annotations: in COCO's format, by the id of their image.
        categories: by label, from that of label 1.
        stages: which of the reductions are shown, counted from 0.
        threshold: the least score of what is drawn.
    """
    images, targets = batch
    names, ids = [str(one["name"]) for one in categories], [int(one["id"]) for one in categories]
    photos = unnormalised(images, resolve_model_data_config(model.host.model))
    grid = model.host.grid(images)
    made = []
    for index, (photo, target, of_image) in enumerate(zip(photos, targets, found, strict=True)):
        size, original = (_sides(target[name]) for name in ("size", "orig_size"))
        panel = _panel_size(size)
        number = int(target["image_id"])
        truth = ground_truth.objects(annotations.get(number, ()), ids, original)
        sure = objects_drawing.above(of_image, threshold)
        seen = photo[: size[0], : size[1]]
        panels = [
            (f"annotated: {len(truth['boxes'])}", _with_objects(seen, truth, names, original, panel)),
            (f"score {threshold:g} or more: {len(sure['boxes'])}", _with_objects(seen, sure, names, original, panel)),
        ]
        drawn = snapshots(model.trace, index)
        times = max(1, _SIDE // max(photo.shape[:2]))
        large = per_pixel(photo, (times, times))
        scale = times * max(size) / max(panel)
        line = _line(large.shape[0] / grid[0] / scale, scale)
        for stage in (drawn[place] for place in stages):
            tokens = (
                drawing.outlined(drawing.detailed(large, stage.source, grid), stage.source, grid, line)
                if stage.shares is None
                else drawing.mixed(large, stage.shares, grid)
            )
            title = f"{stage.tokens:,} tokens after block {stage.block}"
            panels.append((title, _fitted(tokens[: times * size[0], : times * size[1]], panel)))
        caption = f"image {number}: {'; '.join(title for title, _ in panels)}"
        made.append(Shown(_beside(panels), caption))
    return made


def below(pictures: Sequence[Pixels]) -> Pixels:
    """Pictures one below the other, on white."""
    width = max(picture.shape[1] for picture in pictures)
    parts = []
    for picture in pictures:
        whole = np.full((picture.shape[0] + _GAP, width, 3), 255, dtype=np.uint8)
        whole[: picture.shape[0], : picture.shape[1]] = picture
        parts.append(whole)
    return np.concatenate(parts)


def _sides(size: Any) -> tuple[int, int]:
    height, width = (int(side) for side in size)
    return height, width


def _panel_size(size: tuple[int, int]) -> tuple[int, int]:
    scale = _SIDE / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _line(patch: float, scale: float) -> int:
    """How thick a line between clusters is, for it to be seen in the panel and not to hide small patches.

    Args:
        patch: pixels of a side of a patch in the panel.
        scale: pixels of the picture for one of the panel.
    """
    return max(1, round(min(1.2, 0.1 * patch) * scale))


def _fitted(picture: Pixels, panel: tuple[int, int]) -> Pixels:
    kind = Image.Resampling.LANCZOS if max(picture.shape) > max(panel) else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize((panel[1], panel[0]), kind))


def _with_objects(
    photo: Pixels, found: Mapping[str, Tensor], names: Sequence[str], original: tuple[int, int], panel: tuple[int, int]
) -> Pixels:
    """A photograph of the size of a panel, with objects whose places are those in the file's image."""
    factors = torch.tensor([panel[1] / original[1], panel[0] / original[0]] * 2)
    scaled = {**found, "boxes": found["boxes"].float().cpu() * factors}
    if "masks" in found and len(found["masks"]):
        masks = found["masks"].float().cpu().reshape(len(found["masks"]), 1, *original)
        scaled["masks"] = F.interpolate(masks, size=panel, mode="bilinear")[:, 0]
    seen = torch.from_numpy(_fitted(photo, panel).copy()).permute(2, 0, 1)
    drawn: Pixels = objects_drawing.drawn(seen, scaled, names, least_side=1).permute(1, 2, 0).numpy()
    return drawn


def _beside(panels: Sequence[tuple[str, Pixels]]) -> Pixels:
    """Panels of one size from left to right, each under its title."""
    height, width = panels[0][1].shape[:2]
    whole = Image.new("RGB", (len(panels) * (width + _GAP) - _GAP, height + _TITLE), "white")
    pen, font = ImageDraw.Draw(whole), ImageFont.truetype(objects_drawing.font(), 15)
    for place, (title, panel) in enumerate(panels):
        whole.paste(Image.fromarray(panel), (place * (width + _GAP), _TITLE))
        pen.text((place * (width + _GAP) + 2, 3), _short(title, font, width), fill="black", font=font)
    return np.asarray(whole)


def _short(title: str, font: Any, width: int) -> str:
    """A title that does not reach into the next panel."""
    while title and font.getlength(title) > width:
        title = title[:-1]
    return title

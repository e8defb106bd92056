"""Objects drawn onto their image: masks, boxes, and names with scores."""

import colorsys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from atc.extras import needs

LEAST_SIDE = 640  # pixels of the longer side of a drawing: smaller images are enlarged, for names to be legible
MASK_OPACITY = 0.5
_SPREAD = 0.618033988749895  # hues of successive objects are this far apart: the golden ratio spreads them evenly
Colour = tuple[int, int, int]


def drawn(image: Tensor, found: Mapping[str, Tensor], names: Sequence[str], *, least_side: int = LEAST_SIDE) -> Tensor:
    """An image with its objects; those that come first, the most certain ones, lie on top.

    Args:
        image: ``[3, H, W]`` uint8.
        found: ``boxes`` [n, 4], x0 y0 x1 y1 in pixels of the image; ``labels`` [n], from 1; and, where known,
            ``scores`` [n] in [0, 1] and ``masks`` [n, 1, H, W] or [n, H, W], probabilities or 0 and 1.
        names: of the classes, from that of label 1.
        least_side: pixels of the longer side of what is returned, at least.

    Returns:
        ``[3, h, w]`` uint8 on the CPU; the image itself, enlarged by a whole number or not at all.
    """
    times = max(1, -(-least_side // max(image.shape[-2:])))
    picture = image.detach().cpu()
    picture = picture.repeat_interleave(times, dim=-2).repeat_interleave(times, dim=-1)
    count = len(found["boxes"])
    if not count:
        return picture
    # What is drawn last lies on top.
    order = torch.arange(count - 1, -1, -1)
    colours = [_colour(int(number)) for number in order]
    if "masks" in found:
        masks = found["masks"].detach().cpu().reshape(count, *image.shape[-2:])[order]
        masks = F.interpolate(masks[None].float(), scale_factor=times, mode="bilinear")[0] if times > 1 else masks
        picture = draw_segmentation_masks(picture, _in_sight(masks >= 0.5), alpha=MASK_OPACITY, colors=list(colours))
    boxes = _drawable(found["boxes"].detach().cpu().float()[order] * times, picture.shape[-2:])
    labels = [names[int(found["labels"][number]) - 1] for number in order]
    if "scores" in found:
        labels = [f"{name} {float(found['scores'][number]):.2f}" for name, number in zip(labels, order, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return draw_bounding_boxes(
            picture,
            boxes,
            labels=[f" {label} " for label in labels],
            colors=list(colours),
            width=max(2, max(picture.shape[-2:]) // 400),
            font=font(),
            font_size=max(12, max(picture.shape[-2:]) // 55),
            label_colors=[_ink(colour) for colour in colours],
            fill_labels=True,
        )


def above(found: Mapping[str, Tensor], threshold: float) -> dict[str, Tensor]:
    """The detections with a score of `threshold` or more.

    Args:
        found: tensors with a row per detection, `scores` among them.
        threshold: the least score.
    """
    kept = found["scores"] >= threshold
    return {name: value[kept] for name, value in found.items()}


def _in_sight(masks: Tensor) -> Tensor:
    """Of each mask [n, H, W] what no later one covers; torchvision leaves black what several cover."""
    free = torch.ones_like(masks[0])
    seen = torch.empty_like(masks)
    for number in range(len(masks) - 1, -1, -1):
        seen[number] = masks[number] & free
        free &= ~masks[number]
    return seen


def _drawable(boxes: Tensor, size: tuple[int, ...]) -> Tensor:
    """Boxes within the picture, none of them inside out, as Pillow wants them."""
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    right, below = size[1] - 1, size[0] - 1
    x0, y0 = x0.clamp(0, right), y0.clamp(0, below)
    return torch.stack([x0, y0, torch.maximum(x1.clamp(0, right), x0), torch.maximum(y1.clamp(0, below), y0)], dim=1)


def _colour(number: int) -> Colour:
    """A bright colour for an object: hues by turns, dark and light ones."""
    light = (1.0, 0.78)[number % 2]
    red, green, blue = colorsys.hsv_to_rgb((0.58 + number * _SPREAD) % 1, 0.85, light)
    return round(255 * red), round(255 * green), round(255 * blue)


def _ink(colour: Colour) -> Colour:
    """Black or white, whichever is legible on a colour."""
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return (0, 0, 0) if bright > 140 else (255, 255, 255)


def font() -> str:
    """The file of the font that comes with matplotlib."""
    needs("the text in pictures of objects", "matplotlib", "pictures")
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))

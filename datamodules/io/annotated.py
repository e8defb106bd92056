"""One image's annotations in COCO's format: checked, and as boxes, labels and masks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from datamodules.io.instances import is_whole, shown


def check_image(image: Mapping[str, Any], where: str) -> tuple[int, int]:
    """Height and width of a listed image, in pixels. ValueError where the list does not say them."""
    for side in ("height", "width"):
        value: Any = image.get(side)
        if not is_whole(value) or value < 1:
            raise ValueError(f"{where}: {side} {shown(value)} is not a number of pixels")
    return int(image["height"]), int(image["width"])


def check_annotation(annotation: Mapping[str, Any], size: tuple[int, int], where: str) -> None:
    """Refuse an annotation that cannot be trained or evaluated on.

    Args:
        annotation: with ``bbox`` (x, y, width, height in pixels), ``area`` and ``segmentation``.
        size: height and width of its image.
        where: the file and the annotation, for the message.

    Raises:
        ValueError: a field is missing or of another form; one line.
    """
    box = annotation.get("bbox")
    if not isinstance(box, Sequence) or len(box) != 4 or not all(map(_is_finite, box)):
        raise ValueError(f"{where}: bbox {str(box)[:80]} is not [x, y, width, height] in pixels")
    if not _is_finite(annotation.get("area")):
        raise ValueError(f"{where}: area {shown(annotation.get('area'))} is not a number of pixels")
    if annotation.get("iscrowd", 0) not in (0, 1):
        raise ValueError(f"{where}: iscrowd {shown(annotation['iscrowd'])} is neither 0 nor 1")
    shape = annotation.get("segmentation")
    if isinstance(shape, list):
        for polygon in shape:
            if not isinstance(polygon, list) or len(polygon) % 2 or not all(map(_is_finite, polygon)):
                raise ValueError(f"{where}: a polygon of its segmentation is not [x, y, x, y, ...] in pixels")
        return
    counts = shape.get("counts") if isinstance(shape, dict) else None
    if not isinstance(shape, dict) or not isinstance(counts, list | str):
        raise ValueError(f"{where}: segmentation {str(shape)[:80]} is neither polygons nor run lengths")
    if list(shape.get("size") or ()) != list(size):
        raise ValueError(
            f"{where}: run lengths of {shape.get('size')} pixels, in an image of [{size[0]}, {size[1]}] (height, width)"
        )
    runs = counts if isinstance(counts, list) else _decompressed(counts)
    if not all(is_whole(count) and count >= 0 for count in runs) or sum(runs) != size[0] * size[1]:
        raise ValueError(f"{where}: its run lengths do not add up to the {size[0] * size[1]:,} pixels of the image")


def mask_of(segmentation: Any, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The pixels an annotation covers.

    Args:
        segmentation: polygons, or run lengths as numbers or in COCO's compressed text, as `check_annotation` lets pass.
        size: height and width of the image.

    Returns:
        uint8 ``[height, width]`` in {0, 1}; all 0 for polygons that enclose no pixel.
    """
    from pycocotools import mask as codes

    if isinstance(segmentation, list):
        polygons = [polygon for polygon in segmentation if len(polygon) >= 6]  # of 4 numbers it would make a box
        if not polygons:
            return np.zeros(size, np.uint8)
        found = codes.merge(codes.frPyObjects(polygons, *size))
    elif isinstance(segmentation["counts"], list):
        whole = {"size": list(size), "counts": [int(count) for count in segmentation["counts"]]}
        found = codes.frPyObjects(whole, *size)
    else:
        found = segmentation
    return codes.decode(found)


def is_trained_on(annotation: Mapping[str, Any], size: tuple[int, int]) -> bool:
    """Whether an annotation is an object to train on: no crowd, not ignored, with an area, a box and a place inside.

    Args:
        annotation: as `check_annotation` lets pass.
        size: height and width of the image.
    """
    x, y, width, height = annotation["bbox"]
    across = max(0, min(x + width, size[1]) - max(x, 0))
    down = max(0, min(y + height, size[0]) - max(y, 0))
    if annotation.get("iscrowd", 0) or annotation.get("ignore", False):
        return False
    return annotation["area"] > 0 and width >= 1 and height >= 1 and across * down > 0


def objects_of(
    annotations: Sequence[Mapping[str, Any]], labels: Mapping[int, int], size: tuple[int, int]
) -> dict[str, Tensor]:
    """What a detector is trained on in an image.

    Args:
        annotations: of one image, those that `is_trained_on` says.
        labels: from a category's id to its label, from 1.
        size: height and width of the image.

    Returns:
        ``boxes``, float32 [n, 4], x0 y0 x1 y1 in pixels, clipped to the image; ``labels``, int64 [n]; ``masks``, uint8
        [n, height, width]: tv_tensors, for torchvision's transforms.
    """
    boxes = torch.tensor([a["bbox"] for a in annotations], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, size[1])
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, size[0])
    masks = np.zeros((len(annotations), *size), np.uint8)
    for mask, annotation in zip(masks, annotations, strict=True):
        mask[:] = mask_of(annotation["segmentation"], size)
    return {
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
        "labels": torch.tensor([labels[a["category_id"]] for a in annotations], dtype=torch.int64),
        "masks": tv_tensors.Mask(torch.from_numpy(masks)),
    }


def _decompressed(text: str) -> list[int]:
    """The run lengths that COCO's text stands for, six bits a character; the differences to those two before."""
    runs: list[int] = []
    value, shift = 0, 0
    for char in text:
        bits = ord(char) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    return runs if not shift else [-1]


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

"""What is annotated in an image, as a detector would return it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def by_image(truth: Mapping[str, Any]) -> dict[int, list[Mapping[str, Any]]]:
    """The annotations of each image.

    Args:
        truth: images, annotations and categories in COCO's format.
    """
    found: dict[int, list[Mapping[str, Any]]] = {int(image["id"]): [] for image in truth["images"]}
    for annotation in truth["annotations"]:
        found[int(annotation["image_id"])].append(annotation)
    return found


def objects(
    annotations: Sequence[Mapping[str, Any]], category_ids: Sequence[int], size: tuple[int, int]
) -> dict[str, Tensor]:
    """The annotations of an image as `boxes` [n, 4], `labels` [n] from 1, `masks` [n, H, W] uint8 and `crowd` [n] bool.

    Args:
        annotations: in COCO's format, with polygons or run lengths.
        category_ids: by label, from that of label 1.
        size: height and width of the image.
    """
    label_of = {category: label for label, category in enumerate(category_ids, start=1)}
    boxes = torch.tensor([one["bbox"] for one in annotations], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = [_mask(one["segmentation"], size) for one in annotations]
    return {
        "boxes": boxes,
        "labels": torch.tensor([label_of[one["category_id"]] for one in annotations], dtype=torch.int64),
        "masks": torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, *size, dtype=torch.uint8),
        "crowd": torch.tensor([bool(one.get("iscrowd", 0)) for one in annotations], dtype=torch.bool),
    }


def _mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    from pycocotools import mask as codes

    if isinstance(segmentation, list):
        polygons = [polygon for polygon in segmentation if len(polygon) >= 6]  # of fewer numbers it would make a box
        if not polygons:
            return np.zeros(size, np.uint8)
        return codes.decode(codes.merge(codes.frPyObjects(polygons, *size)))
    listed = isinstance(segmentation["counts"], list)
    return codes.decode(codes.frPyObjects(dict(segmentation), *size) if listed else segmentation)

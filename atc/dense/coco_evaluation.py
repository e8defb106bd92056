"""COCO's evaluation of boxes and masks: the twelve numbers of each, AP per class, and results in COCO's JSON.

Computed by pycocotools, or by faster-coco-eval where that is installed.
"""

import contextlib
import importlib.util
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

Kind = Literal["box", "mask"]
IOU_TYPES: dict[Kind, str] = {"box": "bbox", "mask": "segm"}
# COCO's twelve, in its order, under torchmetrics' names.
NUMBERS = (
    *("map", "map_50", "map_75", "map_small", "map_medium", "map_large"),
    *("mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large"),
)


class Evaluation(NamedTuple):
    """What an evaluation came to.

    Attributes:
        numbers: in [0, 1] by name and kind, such as "map_50_box"; a number that nothing counts for is left out.
        per_class: AP in [0, 1] by kind, then by the name of the class; None for a class without an object.
    """

    numbers: dict[str, float]
    per_class: dict[str, dict[str, float | None]]


def check_installed() -> None:
    """ImportError, in one line, without pycocotools, which encodes masks even where faster-coco-eval evaluates."""
    if importlib.util.find_spec("pycocotools") is None:
        raise ImportError("detections are evaluated with pycocotools: pip install 'atc-toolkit[detection]'")


def detections_of(image_id: int, found: Mapping[str, Tensor], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """What was detected in an image, in COCO's format of results.

    Args:
        image_id: of the image.
        found: as torchvision's detectors return it: ``boxes`` [n, 4], x0 y0 x1 y1 in pixels of the image; ``scores``
            [n]; ``labels`` [n], from 1; and ``masks``, probabilities [n, 1, H, W], of detectors that have masks.
        category_ids: by label, from that of label 1.

    Returns:
        One dictionary per detection: ``image_id``, ``category_id``, ``bbox`` (x, y, width, height), ``score`` and
        ``segmentation`` (compressed run lengths of the pixels with a probability of one half or more).

    Raises:
        ValueError: a box or a score is not finite.
    """
    boxes, scores = found["boxes"].detach().double().cpu(), found["scores"].detach().double().cpu()
    if not (boxes.isfinite().all() and scores.isfinite().all()):
        raise ValueError(f"image {image_id}: a box or a score is not finite")
    boxes[:, 2:] -= boxes[:, :2]
    rows: list[dict[str, Any]] = [
        {"image_id": image_id, "category_id": category_ids[label - 1], "bbox": box, "score": score}
        for box, score, label in zip(boxes.tolist(), scores.tolist(), found["labels"].tolist(), strict=True)
    ]
    if "masks" in found:
        for row, mask in zip(rows, found["masks"][:, 0], strict=True):
            row["segmentation"] = run_lengths((mask >= 0.5).cpu().numpy())
    return rows


def run_lengths(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    """A mask [H, W] of 0 and 1 as COCO's compressed run lengths, fit for JSON."""
    from pycocotools import mask as codes

    code = codes.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": code["counts"].decode("ascii")}


def evaluate(
    truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], image_ids: Iterable[int], kinds: Sequence[Kind]
) -> Evaluation:
    """Compare detections with what is there.

    Args:
        truth: images, annotations and categories in COCO's format; crowds are matched as COCO does, not counted.
        detections: in COCO's format of results; masks are compared where `kinds` has "mask".
        image_ids: the images that were looked at; others do not count.
        kinds: "box", "mask" or both.

    Returns:
        All numbers.

    Raises:
        ImportError: pycocotools is not installed.
    """
    check_installed()
    images = sorted(set(image_ids))
    seen = set(images)
    of_images = [image for image in truth["images"] if image["id"] in seen]
    sizes = {image["id"]: (image["height"], image["width"]) for image in of_images}
    part: dict[str, Any] = {
        "info": {},
        "images": of_images,
        "annotations": [_drawn(one, sizes[one["image_id"]]) for one in truth["annotations"] if one["image_id"] in seen],
        "categories": list(truth["categories"]),
    }
    numbers: dict[str, float] = {}
    per_class: dict[str, dict[str, float | None]] = {}
    for kind in kinds:
        evaluated = _evaluated(part, _results(part, detections, kind), images, IOU_TYPES[kind])
        stats = [float(value) for value in evaluated.stats[: len(NUMBERS)]]
        # COCO's -1 stands for a mean of nothing
        numbers |= {f"{name}_{kind}": value for name, value in zip(NUMBERS, stats, strict=True) if value >= 0}
        per_class[kind] = _per_class(evaluated, part["categories"])
    return Evaluation(numbers, per_class)


def _drawn(annotation: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """An annotation without polygons of fewer than three points, on which the packages fail; an empty mask if of none.

    Args:
        annotation: in COCO's format.
        size: height and width of its image.
    """
    shape = annotation["segmentation"]
    if isinstance(shape, list):
        polygons = [polygon for polygon in shape if len(polygon) >= 6]
        shape = polygons or {"size": list(size), "counts": [size[0] * size[1]]}
    return {**annotation, "segmentation": shape}


def _results(part: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], kind: Kind) -> dict[str, Any]:
    """Detections as an annotation file, whose areas are those of the boxes or of the masks that are compared."""
    from pycocotools import mask as codes

    rows = []
    for number, one in enumerate(detections, start=1):
        row = {"id": number, "iscrowd": 0, **{key: one[key] for key in ("image_id", "category_id", "bbox", "score")}}
        if kind == "mask":
            row["segmentation"] = one["segmentation"]
            row["area"] = float(codes.area(one["segmentation"]))
        else:
            row["area"] = one["bbox"][2] * one["bbox"][3]
        rows.append(row)
    return {**part, "annotations": rows}


def _evaluated(truth: dict[str, Any], results: dict[str, Any], images: Sequence[int], iou_type: str) -> Any:
    """What the package's evaluation holds once it has accumulated and summarised."""
    index, evaluation = _package()
    with contextlib.redirect_stdout(io.StringIO()):  # both print their progress
        indices = []
        for content in (truth, results):
            one = index()
            one.dataset = {**content, "annotations": [dict(row) for row in content["annotations"]]}
            one.createIndex()
            indices.append(one)
        made = evaluation(*indices, iou_type)
        made.params.imgIds = list(images)
        made.evaluate()
        made.accumulate()
        made.summarize()
    return made


def _package() -> tuple[Any, Any]:
    """The classes that hold annotations and that evaluate."""
    if importlib.util.find_spec("faster_coco_eval") is not None:
        from faster_coco_eval import COCO, COCOeval_faster

        return COCO, COCOeval_faster
    from pycocotools.coco import COCO as Index
    from pycocotools.cocoeval import COCOeval

    return Index, COCOeval


def _per_class(evaluated: Any, categories: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """AP by class, of all areas and 100 detections an image."""
    precision = evaluated.eval["precision"]  # [thresholds, recalls, classes, areas, most detections]
    names = {category["id"]: category["name"] for category in categories}
    found: dict[str, float | None] = {}
    for place, category in enumerate(evaluated.params.catIds):
        values = torch.from_numpy(np.asarray(precision[:, :, place, 0, -1]))
        counted = values[values > -1]
        found[names[category]] = float(counted.mean()) if len(counted) else None
    return found

"""COCO's numbers, against pycocotools called by hand (of faster-coco-eval, where that is installed)."""

import contextlib
import io
import json
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.scenes import draw
from datamodules.shapes_detection import ShapesDetection

pytest.importorskip("pycocotools", reason="an extra: pip install 'atc-toolkit[detection]'")

from atc.dense.coco_evaluation import NUMBERS, detections_of, evaluate, run_lengths

TRUTH = ShapesDetection(1, 1, 0, 0, size=96, turn=1.0, test=24).dataset("test").ground_truth()


def found(seed: int = 0) -> list[dict[str, Any]]:
    """Boxes and masks a few pixels off, in an order of chance, some missing and some of another class."""
    rng, rows = np.random.default_rng(seed), []
    for image in range(24):
        scene = draw((2, image), 96)
        for kind, mask, box in zip(scene.kinds.tolist(), scene.masks, scene.boxes, strict=True):
            if rng.random() < 0.15:
                continue
            kind = int(rng.integers(10)) if rng.random() < 0.1 else kind
            shift = rng.normal(0, 2, 4)
            x0, y0, x1, y1 = (box + shift).tolist()
            mask = np.roll(mask, int(rng.integers(-2, 3)), 1)
            rows.append(
                {
                    **{"image_id": image, "category_id": kind + 1, "score": float(rng.random())},
                    **{"bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": run_lengths(mask)},
                }
            )
    return rows


def by_hand(rows: list[dict[str, Any]], kind: str, truth: dict[str, Any], images: list[int]) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rows = [dict(row) for row in rows]
    if kind == "segm":
        for row in rows:
            del row["bbox"]  # areas are those of masks
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO()
        index.dataset = {"info": {}, **json.loads(json.dumps(truth))}
        index.createIndex()
        evaluated = COCOeval(index, index.loadRes(rows), kind)
        evaluated.params.imgIds = images
        evaluated.evaluate()
        evaluated.accumulate()
        evaluated.summarize()
    return evaluated.stats.tolist()


@pytest.mark.parametrize(("kind", "coco"), [("box", "bbox"), ("mask", "segm")])
@pytest.mark.parametrize("crowds", [False, True])
def test_the_twelve_numbers_are_cocos(kind: Any, coco: str, crowds: bool) -> None:
    truth = json.loads(json.dumps(TRUTH))
    for annotation in truth["annotations"][:: 3 if crowds else 10_000][1:]:
        annotation["iscrowd"] = 1
    rows, images = found(), list(range(20))
    rows = [row for row in rows if row["image_id"] < 20]
    made = evaluate(truth, rows, images, [kind])
    expected = by_hand(rows, coco, truth, images)
    assert 0.2 < expected[0] < 0.95
    for name, value in zip(NUMBERS, expected, strict=True):
        if value < 0:
            assert f"{name}_{kind}" not in made.numbers
        else:
            assert made.numbers[f"{name}_{kind}"] == pytest.approx(value, abs=1e-9), name


def test_ap_per_class_has_the_mean_as_its_mean() -> None:
    made = evaluate(TRUTH, found(), range(24), ["box", "mask"])
    for kind in ("box", "mask"):
        of_classes = [value for value in made.per_class[kind].values() if value is not None]
        assert sum(of_classes) / len(of_classes) == pytest.approx(made.numbers[f"map_{kind}"])
    only = evaluate(TRUTH, found(), [0], ["box"]).per_class["box"]
    assert [value is None for value in only.values()] == [
        kind not in draw((2, 0), 96).kinds.tolist() for kind in range(10)
    ]


def test_nothing_found_is_zero_and_nothing_to_find_is_no_number() -> None:
    nothing = evaluate(TRUTH, [], range(24), ["box", "mask"]).numbers
    assert nothing["map_box"] == nothing["map_mask"] == 0
    empty = {**TRUTH, "annotations": []}
    assert evaluate(empty, found(), range(24), ["box"]).numbers == {}


def test_detections_in_cocos_format() -> None:
    masks = torch.zeros(2, 1, 6, 8)
    masks[0, 0, 1:3, 2:5] = 0.5
    given = {
        "boxes": torch.tensor([[2.0, 1, 5, 3], [0, 0, 8, 6]]),
        "scores": torch.tensor([0.75, 0.25]),
        "labels": torch.tensor([2, 1]),
        "masks": masks,
    }
    first, second = detections_of(9, given, [11, 13])
    assert (first["image_id"], first["category_id"], first["bbox"], first["score"]) == (9, 13, [2, 1, 3, 2], 0.75)
    assert second["category_id"] == 11
    assert first["segmentation"] == run_lengths(masks[0, 0].numpy() >= 0.5)
    assert json.loads(json.dumps(first)) == first
    given["scores"][0] = float("nan")
    with pytest.raises(ValueError, match="image 9: a box or a score is not finite"):
        detections_of(9, given, [11, 13])


def test_objects_without_a_mask_count_as_with_an_empty_one() -> None:
    """Which pycocotools has no numbers for: it fails on no polygon, and on one of fewer than three points."""
    truth = json.loads(json.dumps(TRUTH))
    changed, whole = truth["annotations"][:12], {"size": [96, 96], "counts": [96 * 96]}
    results = []
    for shapes in ([whole] * 3, [[], [[1, 1]], [[5, 5, 20, 20]]]):
        for number, one in enumerate(changed):
            one["segmentation"] = shapes[number % 3]
        results.append(evaluate(truth, found(), range(24), ["box", "mask"]))
    assert results[0] == results[1]
    unchanged = evaluate(TRUTH, found(), range(24), ["box", "mask"])
    assert results[1].numbers["map_box"] == unchanged.numbers["map_box"]
    assert results[1].numbers["map_50_mask"] < unchanged.numbers["map_50_mask"]


def test_a_line_beside_a_polygon_covers_nothing() -> None:
    square = [5, 5, 25, 5, 25, 25, 5, 25]
    truth = {
        "images": [{"id": 1, "height": 48, "width": 48}],
        "categories": [{"id": 3, "name": "square"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}
            | {"segmentation": [[30, 30, 40, 40], square]}
        ],
    }
    mask = np.zeros((48, 48), np.uint8)
    mask[5:25, 5:25] = 1
    row = {"image_id": 1, "category_id": 3, "bbox": [5, 5, 20, 20], "score": 1.0, "segmentation": run_lengths(mask)}
    assert evaluate(truth, [row], [1], ["mask"]).numbers["map_mask"] == pytest.approx(1.0)

"""COCO's boxes and masks: what is read, what is refused, and what transforms and batches make of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.io.annotated import check_annotation, is_trained_on, mask_of, objects_of
from datamodules.io.grouped import GroupedSampler
from datamodules.io.layout import LayoutError
from datamodules.io.padded import pad_batch
from datamodules.multi_scale import MultiScale, crop, resize
from datamodules.scenes import KINDS
from tests.datamodules.on_disk import load, write_coco

codes = pytest.importorskip("pycocotools.mask", reason="COCO is an extra: pip install 'atc-toolkit[detection]'")
SIZE = (48, 48)
SMALL = {
    "transforms": {
        **{"short_sides": [40, 48], "first_sides": [44], "crop": [24, 40], "long_side": 80, "max_crop": 64},
        **{"eval_short_side": 60, "eval_long_side": 100},
    }
}


def annotated(root: Path, change: Callable[[dict[str, Any]], Any], part: str = "train2017") -> None:
    """Change the annotation file of a part."""
    path = root / "annotations" / f"instances_{part}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_objects_are_those_that_were_drawn(tmp_path: Path) -> None:
    scenes = write_coco(tmp_path, 2017, train=12, val=6, empty=2)
    data = load("coco_detection", tmp_path, **SMALL)
    assert data.num_classes == 10
    assert data.classes == list(reversed(KINDS)), "the order of the ids"
    assert {part: len(entries) for part, (entries, _) in data.parts.items()} == {"train": 12, "test": 8, "val": 8}
    assert data.dropped == {"train": 2}
    data.transforms = Unchanged()
    pictures = data.pictures("train", True)
    for index, scene in enumerate(scenes["train2017"]):
        image, target = pictures[index]
        assert image.shape == (3, *SIZE)
        assert target["boxes"].tolist() == scene.boxes.tolist()
        assert (target["masks"].numpy() == scene.masks).all()
        assert target["labels"].tolist() == [10 - kind for kind in scene.kinds.tolist()]
        assert all(type(value) is torch.Tensor for value in (image, *target.values()) if torch.is_tensor(value))
    truth = data.pictures("test").ground_truth()
    assert len(truth["images"]) == 8
    assert [one["id"] for one in truth["annotations"]] == list(range(1, len(truth["annotations"]) + 1))


class Unchanged:
    """Leaves a sample as it is."""

    def train(self, data: Any) -> Any:
        return lambda image, target: (image, target)

    eval = train


def test_three_ways_of_writing_a_mask() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[10:30, 5:20] = 1
    polygon = [5, 10, 20, 10, 20, 30, 5, 30]
    compressed = codes.encode(np.asfortranarray(mask))
    compressed["counts"] = compressed["counts"].decode()
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    for shape in ([polygon], compressed, {"size": list(SIZE), "counts": runs}):
        assert (mask_of(shape, SIZE) == mask).all(), shape
    for nothing in ([], [[3, 3, 9, 9]], [[1, 1, 1, 1, 1, 1]]):
        assert mask_of(nothing, SIZE).sum() == 0, "four numbers are no box"
    annotation = {"bbox": [5, 10, 15, 20], "area": 300.0}
    check_annotation({**annotation, "segmentation": compressed}, SIZE, "a file")
    for damaged in ("0", compressed["counts"][:-1], compressed["counts"] + "1", "", "~"):
        with pytest.raises(ValueError, match="a file: its run lengths do not add up to the 2,304 pixels"):
            check_annotation({**annotation, "segmentation": compressed | {"counts": damaged}}, SIZE, "a file")


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"iscrowd": 1}, False),
        ({"ignore": True}, False),
        ({"area": 0}, False),
        ({"bbox": [4, 4, 0.5, 9]}, False),
        ({"bbox": [4, 4, 9, 0]}, False),
        ({"bbox": [60, 4, 9, 9]}, False),
        ({"bbox": [-5, -5, 9, 9]}, True),
    ],
)
def test_which_annotations_are_trained_on(change: dict[str, Any], kept: bool) -> None:
    annotation = {"bbox": [4, 4, 9, 9], "area": 81.0, "iscrowd": 0, "segmentation": [], "category_id": 7} | change
    assert is_trained_on(annotation, SIZE) is kept
    if kept:
        boxes = objects_of([annotation], {7: 1}, SIZE)["boxes"]
        assert boxes.min() >= 0
        assert boxes.shape == (1, 4)


def test_crowds_stay_in_the_ground_truth_and_out_of_the_training(tmp_path: Path) -> None:
    write_coco(tmp_path, 2017, empty=0)
    annotated(tmp_path, lambda content: [one.update(iscrowd=1) for one in content["annotations"]])
    data = load("coco_detection", tmp_path, **SMALL)
    image, target = data.pictures("train", True)[0]
    assert target["boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, *image.shape[-2:])
    assert all(one["iscrowd"] for one in data.pictures("train").ground_truth()["annotations"])


MISTAKES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda c: c["annotations"][0].pop("bbox"), r"annotation 1: bbox None is not \[x, y, width, height\]"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), r"bbox \[1, 2, 3\] is not \[x, y, width, height\]"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 3, "4"]), "is not \\[x, y, width, height\\]"),
    (lambda c: c["annotations"][0].pop("area"), "area None is not a number of pixels"),
    (lambda c: c["annotations"][0].update(iscrowd=2), "iscrowd 2 is neither 0 nor 1"),
    (lambda c: c["annotations"][0].pop("segmentation"), "segmentation None is neither polygons nor run lengths"),
    (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3]]), "a polygon of its segmentation is not"),
    (
        lambda c: c["annotations"][0]["segmentation"].update(size=[47, 48]),
        r"run lengths of \[47, 48\] pixels, in an image of \[48, 48\]",
    ),
    (lambda c: c["annotations"][0]["segmentation"]["counts"].append(9), "do not add up to the 2,304 pixels"),
    (lambda c: c["images"][0].pop("height"), "image 1000: height None is not a number of pixels"),
    (lambda c: c["images"][0].update(width=0), "width 0 is not a number of pixels"),
    (lambda c: c["images"][1].update(file_name=c["images"][0]["file_name"]), "images 1000 and 1001 are one file"),
    (lambda c: c["categories"][0].update(name="other"), "the two lists of COCO 2017 in .* different categories"),
    (lambda c: c["images"][1].update(id=1000), r"images\[1\] has id 1000, as one before it has"),
    (lambda c: c["categories"][1].update(id=3), r"categories\[1\] has id 3, as one before it has"),
    (lambda c: c["annotations"][0].update(category_id=2), "category 2 of an annotation is none of the 10 listed"),
]


@pytest.mark.parametrize(("change", "said"), MISTAKES)
def test_what_cannot_be_is_said_in_one_line(tmp_path: Path, change: Callable[..., Any], said: str) -> None:
    write_coco(tmp_path, 2017)
    annotated(tmp_path, change)
    with pytest.raises(ValueError, match=said) as caught:
        _ = load("coco_detection", tmp_path, **SMALL).num_classes
    assert "\n" not in str(caught.value)


def test_missing_files_and_images_of_another_size(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"COCO 2017 is missing annotations/instances_train2017.json"):
        _ = load("coco_detection", tmp_path, **SMALL).num_classes
    write_coco(tmp_path, 2017)
    files = sorted((tmp_path / "val2017").iterdir())
    annotated(tmp_path, lambda content: content["images"][1].update(width=50, height=48), "val2017")
    annotated(tmp_path, lambda content: content["annotations"].clear(), "train2017")
    with pytest.raises(ValueError, match="has no annotations"):
        _ = load("coco_detection", tmp_path, **SMALL).num_classes
    write_coco(tmp_path, 2017)
    files[2].unlink()
    pictures = load("coco_detection", tmp_path, **SMALL).pictures("test")
    with pytest.raises(ValueError, match=f"cannot read .*{files[2].name}"):
        pictures[2]
    skipping = load("coco_detection", tmp_path, on_corrupt="skip", **SMALL)
    images = [one["image_id"] for _, targets in skipping.test_dataloader() for one in targets]
    assert len(images) == 7
    assert skipping.corrupt == [str(files[2])]


def test_resize_multiplies_boxes_by_what_each_side_was_multiplied_by() -> None:
    boxes = torch.tensor([[10.0, 20, 200, 100]])
    for (height, width), size in {(480, 640): (800, 1067), (375, 500): (800, 1067), (333, 1000): (444, 1333)}.items():
        blank = torch.zeros(3, height, width, dtype=torch.uint8)
        image, target = resize(blank, {"boxes": _boxes(boxes, (height, width))}, 800, 1333)
        assert image.shape == (3, *size)
        factors = torch.tensor([size[1] / width, size[0] / height] * 2)
        torch.testing.assert_close(target["boxes"].as_subclass(torch.Tensor), boxes * factors)


def test_images_shrink_without_antialiasing() -> None:
    """As OpenCV: each pixel is interpolated between its four neighbours, whatever lies between these."""
    columns = (torch.arange(64) % 4 == 0).to(torch.uint8) * 255
    image, _ = resize(columns.expand(3, 64, 64).contiguous(), {}, 16, 16)
    assert image.unique().tolist() == [0], "antialiased it would be grey"


def _boxes(boxes: torch.Tensor, image: tuple[int, int]) -> torch.Tensor:
    from torchvision import tv_tensors

    return tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=image)


def test_a_crop_clips_boxes_and_drops_those_outside() -> None:
    torch.manual_seed(0)
    annotation = {"area": 9.0, "segmentation": [[0, 0, 20, 0, 20, 20, 0, 20]], "category_id": 1}
    inside, outside = {**annotation, "bbox": [0, 0, 20, 20]}, {**annotation, "bbox": [40, 40, 8, 8]}
    seen = set()
    for _ in range(40):
        objects = objects_of([inside, outside], {1: 1}, SIZE)
        image, target = crop(torch.zeros(3, *SIZE, dtype=torch.uint8), objects, (12, 12))
        assert image.shape == (3, 12, 12)
        assert target["masks"].shape[0] == len(target["boxes"]) == len(target["labels"])
        assert target["masks"].shape[1:] == (12, 12)
        boxes = target["boxes"]
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert boxes.numel() == 0 or (boxes.min() >= 0 and boxes.max() <= 12)
        seen.add(len(boxes))
    assert seen >= {0, 1}


def test_training_sizes_are_those_of_the_two_policies() -> None:
    torch.manual_seed(0)
    settings = MultiScale()
    transform = settings.train({"mean": (0.5,) * 3, "std": (0.5,) * 3})
    image = torch.zeros(3, 240, 320, dtype=torch.uint8)
    shapes = [transform(image, {})[0].shape[-2:] for _ in range(60)]
    whole = {(short, min(1024, int(320 * short / 240 + 0.5))) for short in settings.short_sides}
    assert 0.25 < sum(tuple(shape) in whole for shape in shapes) / 60 < 0.85
    assert {min(shape) for shape in shapes} <= set(settings.short_sides)
    assert max(max(shape) for shape in shapes) <= 1024
    evaluated, _ = settings.eval({"mean": (0.5,) * 3, "std": (0.5,) * 3})(image, {})
    assert evaluated.shape == (3, 800, 1067)
    assert evaluated.unique().tolist() == [-1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"short_sides": []}, "short_sides=\\[\\]: sides are whole numbers"),
        ({"crop": (600, 384)}, "crop=\\[600, 384\\] is not \\[fewest, most\\]"),
        ({"long_side": 700}, "long_side=700 is less than a short side of 800"),
        ({"eval_long_side": 700}, "eval_long_side=700 is less than eval_short_side=800"),
        ({"max_crop": 0}, "max_crop=0: sides are whole numbers"),
    ],
)
def test_sides_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MultiScale(**settings)


def test_batches_are_padded_at_the_right_and_at_the_bottom() -> None:
    batch, targets = pad_batch([(torch.ones(3, 40, 64), {"image_id": 1}), (torch.ones(3, 33, 70), {"image_id": 2})])
    assert batch.shape == (2, 3, 64, 96)
    assert batch[1, :, :33, :70].min() == 1
    assert batch.sum() == 3 * (40 * 64 + 33 * 70)
    assert [target["size"].tolist() for target in targets] == [[40, 64], [33, 70]]


@pytest.mark.parametrize("world", [1, 2])
def test_batches_are_of_one_orientation_on_all_devices(world: int) -> None:
    groups = torch.tensor([0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1])
    samplers = [GroupedSampler(groups, 2, 7, world=world, rank=rank) for rank in range(world)]
    for epoch in (0, 1):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        shares = [list(sampler) for sampler in samplers]
        assert {len(share) for share in shares} == {len(samplers[0])}
        for start in range(0, len(shares[0]), 2):
            assert len({int(groups[item]) for share in shares for item in share[start : start + 2]}) == 1
        assert {item for share in shares for item in share} == set(range(11)), "every image is in the epoch"
    again = GroupedSampler(groups, 2, 7, 4, world=world)
    again.set_epoch(1)
    assert list(again) == shares[0][4:], "a resumed epoch goes on where it was cut"
    assert shares[0] != list(GroupedSampler(groups, 2, 8, world=world))


def test_training_batches(tmp_path: Path) -> None:
    write_coco(tmp_path, 2017)
    loader = load("coco_detection", tmp_path, **SMALL).train_dataloader()
    images, targets = next(iter(loader))
    assert images.shape[0] == len(targets) == 4
    assert all(side % 32 == 0 for side in images.shape[-2:])
    for target in targets:
        height, width = target["size"].tolist()
        assert target["masks"].shape[1:] == (height, width)
        assert target["boxes"][:, 0::2].max() <= width

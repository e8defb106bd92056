"""Semantic segmentation: settings, data sets and models that do not go with it, and files that are no labels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.mistakes import Mistake

_SHAPES = "train experiment=shapes_segmentation"
_ADE = "check datamodule=ade20k datamodule.root=ade"


def _ade20k(label: int = 1, size: int = 8, *, maps: int = 2) -> Callable[[Path], None]:
    """A validation part of two pictures of 8 x 8 pixels."""

    def prepare(directory: Path) -> None:
        for number in (1, 2):
            name = f"ADE_val_{number:08d}"
            places = [directory / "ade" / kind / "validation" for kind in ("images", "annotations")]
            for place in places:
                place.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(places[0] / f"{name}.jpg")
            if number <= maps:
                Image.fromarray(np.full((size, 8), label, np.uint8)).save(places[1] / f"{name}.png")

    return prepare


def _voc(directory: Path) -> None:
    folder = directory / "voc" / "VOCdevkit" / "VOC2012"
    for name in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("\n")


MISTAKES = [
    Mistake(f"{_SHAPES} task.frozen=maybe", ("task.frozen=maybe must be true or false",), without_torch=True),
    Mistake(f"{_SHAPES} task.window=0", ("task.window=0 must be 1 or more, or null",), without_torch=True),
    Mistake(f"{_SHAPES} task.stride=1.5", ("task.stride=1.5 must be a whole number",), without_torch=True),
    Mistake(f"{_SHAPES} teacher=true", ("teacher=true gives logits and features to learn from, which only task=",)),
    Mistake(
        f"{_SHAPES} task=classification",
        ("shapes_segmentation has labels of pixels, which task=classification",),
        slow=True,
    ),
    Mistake("train task=segmentation", ("datamodule=digits has no labels of pixels, which task=segmentation needs",)),
    Mistake(
        "train datamodule=shapes_detection task=segmentation", ("shapes_detection has boxes and masks",), slow=True
    ),
    Mistake(f"{_SHAPES} score=accuracy", ("score=accuracy: ", "miou, pixel_accuracy"), slow=True),
    Mistake(
        f"{_SHAPES} task.window=60", ("task.window=60: this VisionTransformer cannot see images of 60 x 60 pixels",)
    ),
    Mistake(f"{_SHAPES} task.stride=65", ("task.stride=65 leaves gaps between windows of task.window=64",), slow=True),
    Mistake(
        f"{_SHAPES} task.frozen=true reducer=sinkhorn",
        ("task.frozen=true trains the head alone, and Sinkhorn",),
        slow=True,
    ),
    Mistake(f"{_SHAPES} optimizer.layer_decay=0.7", ("optimizer.layer_decay=0.7 is for classifiers",), slow=True),
    Mistake(f"{_SHAPES} callbacks=raw_or_ema", ("callbacks=raw_or_ema compares logits with targets",), slow=True),
    Mistake(f"{_SHAPES} task.checkpoint=nothing.ckpt", ("nothing.ckpt",), slow=True),
    Mistake(
        "evaluate datamodule=shapes_segmentation predictions=true",
        ("predictions=true keeps what is said of each image", "not with task=segmentation"),
    ),
    Mistake(
        "evaluate datamodule=shapes_segmentation trace=true",
        ("trace=true goes with task=classification, multilabel or zero_shot, not with task=segmentation",),
    ),
    Mistake("evaluate datamodule=shapes_segmentation cuda_graph=true", ("which a Segmenter does not have",), slow=True),
    Mistake("check datamodule=ade20k datamodule.root=none", ("ADE20K is missing the folder none",), lines=8),
    Mistake(f"{_ADE} datamodule.transforms.scales=[2,1]", ("scales=[2, 1] is not [least, greatest]",)),
    Mistake(_ADE, ("ADE_val_00000002.jpg has no partner ADE_val_00000002",), prepare=_ade20k(maps=1), status=1),
    Mistake(
        "evaluate datamodule=ade20k datamodule.root=ade reducer=none datamodule.num_workers=0",
        ("ADE_val_00000001.png has the label 151 in 64 pixels: labels are 0..150",),
        prepare=_ade20k(151),
        slow=True,
    ),
    Mistake(
        "evaluate datamodule=ade20k datamodule.root=ade reducer=tome datamodule.num_workers=0",
        ("ADE_val_00000001.png has labels for 8 x 9 pixels, and the picture has 8 x 8",),
        prepare=_ade20k(size=9),
        slow=True,
    ),
    Mistake(
        "check datamodule=voc_segmentation datamodule.root=voc datamodule.download=false",
        ("val.txt is empty: it lists the pictures of the test part",),
        prepare=_voc,
        status=1,
    ),
]

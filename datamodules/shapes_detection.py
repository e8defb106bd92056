"""Drawn scenes with boxes and masks: the offline stand-in for COCO, which needs no files."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.io.evaluated import EvaluatedParts
from datamodules.io.loaders import train_loader
from datamodules.io.padded import pad_batch
from datamodules.io.ranges import Count, Seed, Share, Side, Workers
from datamodules.multi_scale import MultiScale, Transform
from datamodules.scenes import KINDS, Scene, draw
from datamodules.shapes import ShapesDataset

CATEGORIES = [{"id": label, "name": name} for label, name in enumerate(KINDS, start=1)]


class DetectionScenes(ShapesDataset):
    """Scenes of a part, drawn when they are read, with what is to be detected in them.

    Args:
        part: "train", "val" or "test".
        length: scenes.
        size: pixels per side.
        mean: ``[3]``.
        std: ``[3]``.
        train: give boxes, labels and masks, too.
        turn: see `draw`.
    """

    def __init__(
        self, part: str, length: int, size: int, mean: Tensor, std: Tensor, train: bool = False, turn: float = 0.0
    ):
        super().__init__(part, length, size, mean, std)
        self.train, self.turn = train, turn
        self.categories = CATEGORIES

    def scene(self, index: int) -> Scene:
        """The scene itself."""
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} of {self.length}")
        return draw((self.part, index), self.size, turn=self.turn)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        """A scene as float32 [3, size, size], and a target as of datamodules.coco_detection."""
        scene = self.scene(index)
        image = torch.from_numpy(np.ascontiguousarray(scene.image.transpose(2, 0, 1))) * self.scale + self.shift
        target: dict[str, Any] = {"image_id": index, "orig_size": torch.tensor(image.shape[-2:])}
        if self.train:
            target["boxes"] = torch.from_numpy(scene.boxes)
            target["labels"] = torch.from_numpy(scene.kinds) + 1
            target["masks"] = torch.from_numpy(scene.masks).to(torch.uint8)
        return image, target

    def ground_truth(self) -> dict[str, Any]:
        """All of it in COCO's format, as pycocotools takes it. Needs pycocotools."""
        return _ground_truth(self.part, self.length, self.size, self.turn)


@cache
def _ground_truth(part: int, length: int, size: int, turn: float) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for index in range(length):
        annotations += _annotations(draw((part, index), size, turn=turn), index, len(annotations))
    images = [{"id": index, "height": size, "width": size} for index in range(length)]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def _annotations(scene: Scene, image: int, before: int) -> list[dict[str, Any]]:
    from pycocotools import mask as codes

    rows: list[dict[str, Any]] = []
    for kind, mask, (x0, y0, x1, y1) in zip(scene.kinds.tolist(), scene.masks, scene.boxes.tolist(), strict=True):
        code = codes.encode(np.asfortranarray(mask.astype(np.uint8)))
        rows.append(
            {
                "id": before + len(rows) + 1,
                "image_id": image,
                "category_id": kind + 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": float(mask.sum()),
                "iscrowd": 0,
                "segmentation": {"size": list(mask.shape), "counts": code["counts"].decode()},
            }
        )
    return rows


class ShapesDetection(EvaluatedParts):
    """Scenes of one to four objects of ten kinds, textured, over clutter, hiding one another in part.

    Drawn anew each time they are read, and always the same; masks and boxes are of what can be seen of an object.

    Args:
        batch_size: scenes to train on, per device.
        eval_batch_size: likewise in evaluations.
        num_workers: processes that draw; see `train_loader`.
        seed: order of the training scenes.
        size: pixels per side.
        turn: objects are turned by up to this share of a full turn; 0: all stand upright.
        train: scenes to train on.
        val: scenes that epochs are validated on.
        test: scenes for final numbers.
    """

    classes = tuple(KINDS)
    num_classes = len(KINDS)
    detection = True
    eval_collate = pad_batch
    reader = None  # reads no pictures, see datamodules.base

    def __init__(
        self,
        batch_size: Count,
        eval_batch_size: Count,
        num_workers: Workers | None,
        seed: Seed,
        size: Side = 128,
        turn: Share = 0.0,
        train: Count = 4_096,
        val: Count = 64,
        test: Count = 512,
    ):
        super().__init__()
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.seed, self.size, self.turn = num_workers, seed, size, turn
        self.lengths = {"train": train, "val": val, "test": test}
        self.mean = self.std = torch.full((3,), 0.5)

    def adapt(self, data_config: Mapping[str, Any]) -> None:
        """Take mean and std from timm's data config of the backbone."""
        self.mean, self.std = torch.tensor(data_config["mean"]), torch.tensor(data_config["std"])

    def dataset(self, part: str, train: bool = False) -> DetectionScenes:
        """A part: "train", "val" or "test"; with boxes, labels and masks to train on, if it is for that."""
        return DetectionScenes(part, self.lengths[part], self.size, self.mean, self.std, train, self.turn)

    def eval_transform(self) -> Transform:
        """What is done to a photograph ``[3, height, width]`` uint8: resized to the size of the scenes, normalised."""
        sides = MultiScale(eval_short_side=self.size, eval_long_side=2 * self.size)
        return sides.eval({"mean": self.mean.tolist(), "std": self.std.tolist()})

    def known_categories(self) -> list[dict[str, Any]]:
        """What the labels stand for, which no file has to be read for."""
        return CATEGORIES

    def evaluated(self, part: str) -> DetectionScenes:
        """A part, unaugmented."""
        return self.dataset(part)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled training batches."""
        return train_loader(self, self.dataset("train", True), self.batch_size, self.num_workers, self.seed, pad_batch)

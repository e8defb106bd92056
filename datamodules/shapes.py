"""Drawn scenes as a data set that needs no files: the offline stand-in for multi-label training."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.io.evaluated import EvaluatedParts
from datamodules.io.loaders import train_loader
from datamodules.io.naming import numbered
from datamodules.io.ranges import Count, Seed, Side, Workers
from datamodules.scenes import KINDS, Scene, draw

PARTS = ("train", "val", "test")  # a scene's seed is (its part, its number), so that no scene is in two parts


class ShapesDataset(Dataset[tuple[Tensor, Any]]):
    """Scenes of a part, drawn when they are read: images ``[3, size, size]``, normalised by mean and std.

    Args:
        part: "train", "val" or "test".
        length: scenes.
        size: pixels per side.
        mean: ``[3]``.
        std: ``[3]``.
        target: "labels", float32 [10], which kinds of object are there, or "class", the one most can be seen of.
    """

    def __init__(self, part: str, length: int, size: int, mean: Tensor, std: Tensor, target: str = "labels"):
        self.name, self.part, self.length, self.size, self.target = part, PARTS.index(part), length, size, target
        # uint8 to normalised in one step: image * scale + shift.
        self.scale, self.shift = 1 / (255 * std[:, None, None]), -(mean / std)[:, None, None]

    def __len__(self) -> int:
        """Scenes of the part."""
        return self.length

    def image_name(self, index: int) -> str:
        """What a scene is called: its part and its number."""
        return numbered(self.name, index)

    def scene(self, index: int) -> Scene:
        """The scene itself, with boxes and masks."""
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} of {self.length}")
        return draw((self.part, index), self.size)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        """A scene as float32 [3, size, size], and its target."""
        scene = self.scene(index)
        image = torch.from_numpy(np.ascontiguousarray(scene.image.transpose(2, 0, 1)))
        target = torch.from_numpy(scene.labels) if self.target == "labels" else scene.label
        return image * self.scale + self.shift, target


class Shapes(EvaluatedParts):
    """Scenes of one to four objects of ten kinds, textured, over clutter, hiding one another in part.

    Drawn anew each time they are read, and always the same.

    Args:
        batch_size: scenes to train on, per device.
        eval_batch_size: likewise in evaluations.
        num_workers: processes that draw; see `train_loader`.
        seed: order of the training scenes.
        size: pixels per side, None = what the backbone takes.
        target: "labels" (multi-label) or "class".
        train: scenes to train on.
        val: scenes to select by.
        test: scenes for final numbers.
        repeats: repeated augmentation, see `train_loader`.
        repeats_alone: likewise.
    """

    classes = tuple(KINDS)
    num_classes = len(KINDS)
    reader = None  # reads no pictures, see datamodules.base

    def __init__(
        self,
        batch_size: Count,
        eval_batch_size: Count,
        num_workers: Workers | None,
        seed: Seed,
        size: Side | None = None,
        target: Literal["labels", "class"] = "labels",
        train: Count = 4_096,
        val: Count = 512,
        test: Count = 1_024,
        repeats: Count | None = None,
        repeats_alone: bool | None = None,
    ):
        super().__init__()
        self.repeats, self.repeats_alone = repeats, repeats_alone
        if target not in ("labels", "class"):
            raise ValueError(f"datamodule.target={target} is neither 'labels' nor 'class'")
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.seed, self.size = num_workers, seed, size
        self.target, self.multilabel = target, target == "labels"
        self.lengths = {"train": train, "val": val, "test": test}
        self.mean = self.std = torch.full((3,), 0.5)

    def adapt(self, data_config: Mapping[str, Any]) -> None:
        """Take image size, mean and std from timm's data config of the backbone."""
        height, width = map(int, data_config["input_size"][-2:])
        if height != width and not self.size:
            raise ValueError(f"datamodule=shapes draws squares, and the backbone takes {height} x {width} pixels")
        self.size = self.size or width
        self.mean, self.std = torch.tensor(data_config["mean"]), torch.tensor(data_config["std"])

    def dataset(self, part: str) -> ShapesDataset:
        """A part: "train", "val" or "test"."""
        return ShapesDataset(part, self.lengths[part], self.size or 56, self.mean, self.std, self.target)

    def evaluated(self, part: str) -> ShapesDataset:
        """A part, unaugmented."""
        return self.dataset(part)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled training batches."""
        return train_loader(self, self.dataset("train"), self.batch_size, self.num_workers, self.seed)

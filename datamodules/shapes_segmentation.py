"""Drawn scenes with a label for each pixel: the offline stand-in for ADE20K, which needs no files."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.io.evaluated import EvaluatedParts
from datamodules.io.loaders import train_loader
from datamodules.io.padded import pad_batch
from datamodules.io.ranges import Count, Seed, Side, Workers
from datamodules.scenes import KINDS, Scene
from datamodules.shapes import ShapesDataset


def labels_of(scene: Scene) -> NDArray[np.uint8]:
    """The kind of the object that each pixel shows, from 1, and 0 for the background: uint8 [S, S]."""
    labels = np.zeros(scene.image.shape[:2], dtype=np.uint8)
    for kind, mask in zip(scene.kinds.tolist(), scene.masks, strict=True):
        labels[mask] = kind + 1
    return labels


class LabelledScenes(ShapesDataset):
    """Scenes of a part, drawn when they are read, with a label for each pixel.

    Args:
        part: "train", "val" or "test".
        length: scenes.
        size: pixels per side.
        mean: ``[3]``.
        std: ``[3]``.
        train: labels as a tensor, not in a dictionary.
    """

    def __init__(self, part: str, length: int, size: int, mean: Tensor, std: Tensor, train: bool = False):
        super().__init__(part, length, size, mean, std)
        self.train = train

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        """A scene as float32 [3, size, size], and a target as of datamodules.segmentation."""
        scene = self.scene(index)
        image = torch.from_numpy(np.ascontiguousarray(scene.image.transpose(2, 0, 1))) * self.scale + self.shift
        labels = torch.from_numpy(labels_of(scene))
        return image, labels if self.train else {"labels": labels}


class ShapesSegmentation(EvaluatedParts):
    """Scenes of one to four objects of ten kinds, textured, over clutter, hiding one another in part.

    Drawn anew each time they are read, and always the same; the background is a class of its own, the first.

    Args:
        batch_size: scenes to train on, per device.
        eval_batch_size: likewise in evaluations.
        num_workers: processes that draw; see `train_loader`.
        seed: order of the training scenes.
        size: pixels per side, None = what the backbone takes.
        train: scenes to train on.
        val: scenes to select by.
        test: scenes for final numbers.
    """

    classes = ("background", *KINDS)
    num_classes = len(classes)
    segmentation = True
    eval_collate = pad_batch
    reader = None  # reads no pictures, see datamodules.base

    def __init__(
        self,
        batch_size: Count,
        eval_batch_size: Count,
        num_workers: Workers | None,
        seed: Seed,
        size: Side | None = None,
        train: Count = 4_096,
        val: Count = 128,
        test: Count = 512,
    ):
        super().__init__()
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.seed, self.size = num_workers, seed, size
        self.lengths = {"train": train, "val": val, "test": test}
        self.mean = self.std = torch.full((3,), 0.5)

    def adapt(self, data_config: Mapping[str, Any]) -> None:
        """Take image size, mean and std from timm's data config of the backbone."""
        self.size = self.size or int(min(data_config["input_size"][-2:]))
        self.mean, self.std = torch.tensor(data_config["mean"]), torch.tensor(data_config["std"])

    def dataset(self, part: str, train: bool = False) -> LabelledScenes:
        """A part: "train", "val" or "test"; with targets to train on, if it is for that."""
        return LabelledScenes(part, self.lengths[part], self.size or 64, self.mean, self.std, train)

    def evaluated(self, part: str) -> LabelledScenes:
        """A part, unaugmented."""
        return self.dataset(part)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled training batches."""
        return train_loader(self, self.dataset("train", True), self.batch_size, self.num_workers, self.seed)

"""Handwritten digits that need no download: the 1,797 real scans that come with scikit-learn."""

from collections.abc import Mapping
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from datamodules.io.evaluated import EvaluatedParts
from datamodules.io.loaders import train_loader
from datamodules.io.naming import numbered
from datamodules.io.ranges import Count, Seed, Side, Workers

SPLIT_SEED = 1797  # fixed: every run, whatever its seed, has the same three parts
SPLIT_SIZES = {"train": 1077, "val": 270, "test": 450}


def split() -> dict[str, Tensor]:
    """Indices of the train, val and test scans: disjoint, all 1,797 of them, classes in proportion."""
    target = load_digits().target
    rest, test = train_test_split(
        range(len(target)), test_size=SPLIT_SIZES["test"], stratify=target, random_state=SPLIT_SEED
    )
    train, val = train_test_split(rest, test_size=SPLIT_SIZES["val"], stratify=target[rest], random_state=SPLIT_SEED)
    return {name: torch.tensor(sorted(part)) for name, part in (("train", train), ("val", val), ("test", test))}


class DigitsDataset(Dataset[tuple[Tensor, int]]):
    """Scans ``[3, H, W]``, normalised by mean and std, with their digit.

    Args:
        part: "train", "val" or "test".
        size: pixels per side, or height and width.
        mean: ``[3]``.
        std: ``[3]``.
        augment: shift, turn and scale each scan a little, anew every time.
    """

    def __init__(self, part: str, size: int | tuple[int, int], mean: Tensor, std: Tensor, augment: bool = False):
        digits, indices = load_digits(), split()[part]
        scans = torch.from_numpy(digits.images).float()[indices, None] / 16  # [n, 1, 8, 8] in [0, 1]
        sides = (size, size) if isinstance(size, int) else size
        self.images = F.interpolate(scans, size=sides, mode="bilinear", align_corners=False)
        self.targets, self.part, self.indices = torch.from_numpy(digits.target)[indices], part, indices
        self.mean, self.std = mean[:, None, None], std[:, None, None]
        bilinear = v2.InterpolationMode.BILINEAR
        self.augment = v2.RandomAffine(12, (0.08, 0.08), (0.9, 1.1), interpolation=bilinear) if augment else None

    def __len__(self) -> int:
        """Scans of the part."""
        return len(self.targets)

    def image_name(self, index: int) -> str:
        """What a scan is called: its part, and its number in scikit-learn's list."""
        return numbered(self.part, int(self.indices[index]))

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A scan, float32 [3, H, W], and its digit."""
        image = self.images[index]
        if self.augment is not None:
            image = self.augment(image)
        return (image.expand(3, -1, -1) - self.mean) / self.std, int(self.targets[index])


class Digits(EvaluatedParts):
    """The digits of scikit-learn: 1,077 scans to train on, 270 to select by, 450 for final numbers.

    Args:
        batch_size: images to train on, per device.
        eval_batch_size: likewise in evaluations.
        size: pixels per side the 8 x 8 scans are scaled to; None = what the backbone takes.
        num_workers: processes that prepare batches; see `train_loader`.
        seed: order of the training images, not the split.
        repeats: repeated augmentation, see `train_loader`.
        repeats_alone: likewise.
    """

    num_classes = 10
    reader = None  # reads no pictures, see datamodules.base
    multilabel = False

    def __init__(
        self,
        batch_size: Count,
        eval_batch_size: Count,
        size: Side | None,
        num_workers: Workers | None,
        seed: Seed,
        repeats: Count | None = None,
        repeats_alone: bool | None = None,
    ):
        super().__init__()
        self.repeats, self.repeats_alone = repeats, repeats_alone
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.size, self.num_workers, self.seed = size, num_workers, seed
        self.sides = (size or 28, size or 28)
        self.mean = self.std = torch.full((3,), 0.5)

    def adapt(self, data_config: Mapping[str, Any]) -> None:
        """Take image size, mean and std from timm's data config of the backbone."""
        height, width = map(int, data_config["input_size"][-2:])
        self.sides = (self.size, self.size) if self.size else (height, width)
        self.mean, self.std = torch.tensor(data_config["mean"]), torch.tensor(data_config["std"])

    def _dataset(self, part: str, augment: bool = False) -> DigitsDataset:
        return DigitsDataset(part, self.sides, self.mean, self.std, augment)

    def evaluated(self, part: str) -> DigitsDataset:
        """A part, unaugmented."""
        return self._dataset(part)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches to train on, augmented."""
        return train_loader(self, self._dataset("train", augment=True), self.batch_size, self.num_workers, self.seed)

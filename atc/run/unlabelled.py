"""Images without their labels, as a backbone takes them: of a folder or of a data set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_method
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import Dataset, Subset

from atc.run import own_images


class Files(Dataset[Tensor]):
    """Image files, prepared as timm evaluates a backbone.

    Args:
        files: the files.
        data: which images the backbone takes, as `atc.vit.images.data_config` says it.
    """

    def __init__(self, files: Sequence[Path], data: Mapping[str, Any]):
        self.files, self.read = files, get_method(own_images.READ)
        self.transform: Any = create_transform(**data, is_training=False)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        """``[3, H, W]`` float32; ValueError or OSError, one line, for a file that cannot be read."""
        seen: Tensor = self.transform(self.read(self.files[index]))
        return seen


def of_folder(folder: str | Path, data: Mapping[str, Any]) -> Dataset[Any]:
    """All images of a folder and of those below it.

    Args:
        folder: the folder, or one image.
        data: which images the backbone takes.

    Raises:
        ValueError: a folder without an image; one line.
    """
    return Files(own_images.files_of(folder), data)


def of_data_set(datamodule: Any, part: str, data: Mapping[str, Any]) -> Dataset[Any]:
    """The images of a data set, prepared as it evaluates them, each with whatever else it has of them.

    Args:
        datamodule: the data set, as of conf/datamodule.
        part: "val" or "test".
        data: which images the backbone takes.
    """
    datamodule.adapt(data)
    datamodule.prepare_data()
    datamodule.setup("test" if part == "test" else "validate")
    found: Dataset[Any] = getattr(datamodule, f"{part}_dataloader")().dataset
    return found


def drawn(images: Any, count: int | None, seed: int) -> Dataset[Any]:
    """Some of the images, at random.

    Args:
        images: all of them.
        count: how many; None, or more than there are: all.
        seed: of the draw.
    """
    if count is None or count >= len(images):
        every: Dataset[Any] = images
        return every
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return Subset(images, sorted(order[:count].tolist()))


def alone(item: Any) -> Tensor:
    """The image, or batch of images, of what a data set or its loader returns."""
    found: Tensor = item[0] if isinstance(item, (list, tuple)) else item
    return found

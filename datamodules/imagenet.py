"""ImageNet-1K, or any part of its validation photographs."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from timm.data import ImageNetInfo
from torch.utils.data import DataLoader

from datamodules.base import Part, PictureData
from datamodules.folder import class_folders
from datamodules.layout import Layout


class ImageNet(PictureData):
    """1,000 classes, named by their WordNet ids and numbered in that order, whichever of the folders are there.

    Numbers are reported for val/; the photographs to select by are held out of train/, which an evaluation can
    do without.
    """

    layout = Layout(
        name="ImageNet",
        needs=("val/",),
        source="https://www.image-net.org/download.php (ILSVRC 2012, registration), or its copy on Kaggle",
        tree="""
PATH/val/n01440764/*.JPEG     one folder for each of the 1,000 classes, or for some of them
PATH/train/n01440764/*.JPEG   to train
""",
    )
    published = {"classes": 1000, "train": 1_281_167, "test": 50_000}
    num_classes = 1000  # type: ignore[assignment]  # known without looking at the files

    def read(self, root: Path) -> dict[str, Part]:
        """List the photographs."""
        self.classes = ImageNetInfo().label_names()
        folders = {"train": root / "train", "test": root / "val"}
        return {part: self._part(folder) for part, folder in folders.items() if folder.is_dir()}

    def _part(self, folder: Path) -> Part:
        names, (paths, targets) = class_folders(folder, self.layout)
        number = {name: index for index, name in enumerate(self.classes)}
        if strange := [name for name in names if name not in number]:
            raise self.layout.missing(
                f"class folders named by WordNet ids: {folder} has {len(strange)} others, such as {strange[0]}"
            )
        return paths, torch.tensor([number[name] for name in names])[targets]

    @cached_property
    def parts(self) -> dict[str, Part]:
        """As used; without train/ there is nothing but the test part."""
        return super().parts if "train" in self.released else self.released

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled training batches. LayoutError without train/."""
        if "train" not in self.released:
            raise self.layout.missing(f"train/ in {self.root}, which evaluating can do without but not training")
        return super().train_dataloader()

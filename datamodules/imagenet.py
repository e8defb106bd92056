"""ImageNet-1K, or any part of its validation photographs, in the forms in which people have it."""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from timm.data import ImageNetInfo
from torch.utils.data import DataLoader

from datamodules.base import Part, PictureData
from datamodules.devkit import flat_folder
from datamodules.folder import class_folders
from datamodules.hub import ReadRow, open_parquet
from datamodules.layout import Layout
from datamodules.shards import list_shards, read_member


class ImageNet(PictureData):
    """1,000 classes, named by their WordNet ids and numbered in that order, whichever of the folders are there.

    Numbers are reported for the validation part; the photographs to select by are held out of the training part,
    which an evaluation can do without.
    source: "folders": files, those of val/ in class folders or all together beside the devkit; "webdataset": tar
    shards; "hf": parquet files that the `datasets` library reads, root being their folder or the hub's name for it.
    """

    layout = Layout(
        name="ImageNet",
        needs=(),
        source="https://www.image-net.org/download.php (ILSVRC 2012, registration), or its copy on Kaggle",
        tree="""
PATH/val/n01440764/*.JPEG     one folder for each of the 1,000 classes, or for some of them
PATH/train/n01440764/*.JPEG   to train
or PATH/val/ILSVRC2012_val_00000001.JPEG ... with one of
PATH/ILSVRC2012_devkit_t12/data/  meta.mat, ILSVRC2012_validation_ground_truth.txt
PATH/LOC_val_solution.csv         (Kaggle)
or, datamodule.source=webdataset, PATH/*train*.tar and PATH/*val*.tar
or, datamodule.source=hf, PATH/data/train-*.parquet and PATH/data/validation-*.parquet
""",
    )
    published = {"classes": 1000, "train": 1_281_167, "test": 50_000}

    def __init__(self, *args: Any, source: Literal["folders", "webdataset", "hf"] = "folders", **kwargs: Any):
        super().__init__(*args, **kwargs)
        if source not in ("folders", "webdataset", "hf"):
            raise ValueError(f"datamodule.source={source}: there are folders, webdataset, hf")
        self.source = source
        self.classes = ImageNetInfo().label_names()

    @cached_property
    def released(self) -> dict[str, Part]:
        """The parts as released. LayoutError where files are missing."""
        if self.source != "hf":
            return super().released
        parts, rows = open_parquet(self.root, self.layout)
        self.read_image = ReadRow(rows)
        self.check_targets(parts)
        return parts

    def read(self, root: Path) -> dict[str, Part]:
        """List the photographs."""
        if self.source == "webdataset":
            self.read_image = read_member
            return list_shards(root, self.layout)
        if not (root / "val").is_dir():
            raise self.layout.missing(f"val/ in {root}")
        folders = {"train": root / "train", "test": root / "val"}
        return {part: self._part(folder) for part, folder in folders.items() if folder.is_dir()}

    def _part(self, folder: Path) -> Part:
        number = {name: index for index, name in enumerate(self.classes)}
        if folder.name == "val" and not any(entry.is_dir() for entry in folder.iterdir()):
            return flat_folder(folder, number, self.layout)
        names, (paths, targets) = class_folders(folder, self.layout)
        if strange := [name for name in names if name not in number]:
            raise self.layout.missing(
                f"class folders named by WordNet ids: {folder} has {len(strange)} others, such as {strange[0]}"
            )
        return paths, torch.tensor([number[name] for name in names])[targets]

    @cached_property
    def parts(self) -> dict[str, Part]:
        """As used; without train/ there is nothing but the test part."""
        return super().parts if "train" in self.released else self.released

    def check_training(self) -> None:
        """LayoutError without train/."""
        if "train" not in self.released:
            raise self.layout.missing(f"train/ in {self.root}, which evaluating can do without but not training")

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled training batches. LayoutError without train/."""
        self.check_training()
        return super().train_dataloader()

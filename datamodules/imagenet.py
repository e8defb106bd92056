"""ImageNet-1K, or any part of its validation photographs, in the forms in which people have it."""

from pathlib import Path
from typing import Any, Literal

import torch
from timm.data import ImageNetInfo

from datamodules.base import PictureData
from datamodules.folder import class_folders
from datamodules.io.imagenet_devkit import flat_folder
from datamodules.io.layout import Layout
from datamodules.io.parquet import OpenRow, open_parquet
from datamodules.io.shards import list_shards, open_member
from datamodules.io.targets import Part


class ImageNet(PictureData):
    """1,000 classes, named by their WordNet ids and numbered in that order, whichever of the folders are there.

    Numbers are reported for the validation part; the photographs to select by are held out of the training part,
    which an evaluation can do without.

    Args:
        *args: as of `PictureData`.
        source: "folders": files, those of val/ in class folders or all together beside the devkit; "webdataset": tar
            shards; "hf": parquet files that the `datasets` library reads, root being their folder or the hub's name for
            it.
        **kwargs: as of `PictureData`.
    """

    same_everywhere = True
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

    def find_root(self) -> Path:
        """The folder, which for parquet files need not be one on disk."""
        return Path(str(self.root)) if self.source == "hf" and self.root else super().find_root()

    def read(self, root: Path) -> dict[str, Part]:
        """List the photographs."""
        if self.source == "hf":
            parts, rows = open_parquet(str(self.root), self.layout, self.listing)
            self.open_entry = OpenRow(rows)
            return parts
        if self.source == "webdataset":
            self.open_entry = open_member
            return list_shards(root, self.layout, self.listing)
        if not (root / "val").is_dir():
            raise self.layout.missing(f"val/ in {root}")
        number = {name: index for index, name in enumerate(self.classes)}
        folders = {
            part: folder for part, folder in (("train", root / "train"), ("test", root / "val")) if folder.is_dir()
        }
        parts = {}
        if not self.listing.has_folders(folders["test"]):
            parts["test"] = flat_folder(folders.pop("test"), number, self.layout, self.listing)
        for part, (names, (paths, targets)) in class_folders(self, folders).items():
            if strange := [name for name in names if name not in number]:
                others = f"{folders[part]} has {len(strange)} others, such as {strange[0]}"
                raise self.layout.missing(f"class folders named by WordNet ids: {others}")
            parts[part] = paths, torch.tensor([number[name] for name in names])[targets]
        return {part: parts[part] for part in ("train", "test") if part in parts}

"""Pascal VOC 2012 as segmentation: 20 kinds of objects and the background (Everingham et al., 2010)."""

from pathlib import Path
from typing import Any

from torchvision import datasets

from datamodules.io.files import read_text
from datamodules.io.layout import Layout
from datamodules.public import HOW, VOC_KINDS, Downloaded
from datamodules.segmentation import Pair, SegmentationData

FOLDER = "VOCdevkit/VOC2012"


class VOCSegmentation(SegmentationData, Downloaded):
    """Trained on the list `train_list`, tested on `val`; 0 is the background, and 255, around objects, is ignored.

    The usual larger training part (SBD, 10,582 pictures) is a list and a folder of labels more in the same place:
    train_list=trainaug, labels=SegmentationClassAug.

    Args:
        *args: as of `SegmentationData`.
        train_list: the name of a file of ImageSets/Segmentation, without .txt.
        labels: the folder of labels.
        **kwargs: as of `SegmentationData`, and `download`: have torchvision fetch what is not there.
    """

    same_everywhere = True
    num_labels = 21
    classes = ("background", *VOC_KINDS)

    def __init__(self, *args: Any, train_list: str = "train", labels: str = "SegmentationClass", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.train_list, self.labels = train_list, labels
        self.published = {"classes": 21, "test": 1_449} | ({"train": 1_464} if train_list == "train" else {})
        self.layout = Layout(
            name="Pascal VOC 2012",
            needs=(f"{FOLDER}/ImageSets/Segmentation/val.txt", f"{FOLDER}/JPEGImages/", f"{FOLDER}/{labels}/"),
            source=f"http://host.robots.ox.ac.uk/pascal/VOC/voc2012 (trainval), or {HOW}",
            tree=f"""
voc/{FOLDER}/
  ImageSets/Segmentation/{train_list}.txt, val.txt
  JPEGImages/2007_000032.jpg ...
  {labels}/2007_000032.png ...
""",
        )

    def fetch(self, root: Path) -> None:
        """All of it comes in one archive."""
        datasets.VOCSegmentation(root, year="2012", image_set="trainval", download=True)

    def pairs(self, root: Path) -> dict[str, list[Pair]]:
        """The lists of names; that of the training part may be missing."""
        folder, found = root / FOLDER, {}
        for part, name in (("train", self.train_list), ("test", "val")):
            where = folder / "ImageSets" / "Segmentation" / f"{name}.txt"
            if part == "train" and not where.is_file():
                continue
            names = read_text(where).split()
            if not names:
                raise ValueError(f"{where} is empty: it lists the pictures of the {part} part, one name a line")
            if len(names) != len(set(names)):
                twice = next(name for name in names if names.count(name) > 1)
                raise ValueError(f"{where}: {twice} is there {names.count(twice)} times")
            pictures = [self.path(folder / "JPEGImages", f"{name}.jpg", str(where)) for name in names]
            labels = [self.path(folder / self.labels, f"{name}.png", str(where)) for name in names]
            for kind, paths in (("picture", pictures), ("labels", labels)):
                if missing := [path for path in paths if not Path(path).is_file()]:
                    raise ValueError(
                        f"{where}: {len(missing):,} of {len(paths):,} names have no {kind}, such as {missing[0]}"
                    )
            found[part] = list(zip(pictures, labels, strict=True))
        return found

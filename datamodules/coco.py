"""COCO as a multi-label data set: which of the 80 categories are in a picture (Lin et al., arXiv 1405.0312)."""

import logging
from pathlib import Path
from typing import Any, Literal

from datamodules.base import PictureData
from datamodules.io.instances import load_instances
from datamodules.io.layout import Layout
from datamodules.io.targets import Part, multi_hot

log = logging.getLogger(__name__)

# Pictures with at least one annotation, of 82,783 and 40,504 in 2014, 118,287 and 5,000 in 2017.
PUBLISHED = {
    2014: {"classes": 80, "train": 82_081, "test": 40_137},
    2017: {"classes": 80, "train": 117_266, "test": 4_952},
}


class COCO(PictureData):
    """Labels in the order the annotations list their categories; any annotation counts, crowds and small ones too.

    Pictures without annotations are left out, as in the authors' code; `dropped` has their number by part. (That code
    keeps three rows of labels by the size of the object and takes their maximum; what comes out is the same.)

    Args:
        *args: as of `PictureData`.
        year: 2014, which the papers use, or 2017 with its other split.
        **kwargs: as of `PictureData`.
    """

    same_everywhere = True
    multilabel = True

    def __init__(self, *args: Any, year: Literal[2014, 2017] = 2014, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if year not in PUBLISHED:
            raise ValueError(f"datamodule.year={year}: there are {', '.join(map(str, PUBLISHED))}")
        self.year = year
        self.published = PUBLISHED[year]
        self.layout = layout_of(year)
        self.dropped: dict[str, int] = {}

    def read(self, root: Path) -> dict[str, Part]:
        """Both lists of instances."""
        parts: dict[str, Part] = {}
        categories = {}
        for part, folder in (("train", f"train{self.year}"), ("test", f"val{self.year}")):
            path = root / "annotations" / f"instances_{folder}.json"
            lists = load_instances(path)
            categories[part] = {key: category["name"] for key, category in lists.cats.items()}
            position = {key: i for i, key in enumerate(lists.cats)}
            kept = [key for key in lists.imgs if lists.imgToAnns.get(key)]
            self.dropped[part] = len(lists.imgs) - len(kept)
            log.info("COCO %s: %d pictures without annotations left out", folder, self.dropped[part])
            labels = [sorted({position[a["category_id"]] for a in lists.imgToAnns[key]}) for key in kept]
            names = [(lists.imgs[key]["file_name"], f"{path}, image {key}") for key in kept]
            paths = [self.path(root / folder, name, where) for name, where in names]
            parts[part] = (paths, multi_hot(labels, len(position)))
        if categories["train"] != categories["test"]:
            raise ValueError(f"the two lists of COCO {self.year} in {root} have different categories")
        self.classes = list(categories["train"].values())
        return parts


def layout_of(year: int) -> Layout:
    """Where the files of a year lie."""
    train, val = f"train{year}", f"val{year}"
    lists = [f"annotations/instances_{part}.json" for part in (train, val)]
    name = "COCO_train2014_*.jpg" if year == 2014 else "*.jpg"
    return Layout(
        name=f"COCO {year}",
        needs=(*lists, f"{train}/", f"{val}/"),
        source=f"https://cocodataset.org/#download ({train}.zip, {val}.zip, annotations_trainval{year}.zip)",
        tree=f"coco/\n  {lists[0]}\n  {lists[1]}\n  {train}/{name}\n  {val}/{name.replace('train', 'val')}",
    )

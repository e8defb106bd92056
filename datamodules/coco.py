"""COCO as a multi-label data set: which of the 80 categories are in a picture (Lin et al., arXiv 1405.0312)."""

import contextlib
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datamodules.base import Part, PictureData, multi_hot
from datamodules.layout import Layout

log = logging.getLogger(__name__)

# Pictures with at least one annotation, of 82,783 and 40,504 in 2014, 118,287 and 5,000 in 2017.
PUBLISHED = {
    2014: {"classes": 80, "train": 82_081, "test": 40_137},
    2017: {"classes": 80, "train": 117_266, "test": 4_952},
}


class COCO(PictureData):
    """Labels in the order the annotations list their categories; any annotation counts, crowds and small ones too.

    year: 2014, which the papers use, or 2017 with its other split. Pictures without annotations are left out, as
    in the authors' code; `dropped` has their number by part. (That code keeps three rows of labels by the size of
    the object and takes their maximum; what comes out is the same.)
    """

    multilabel = True

    def __init__(self, *args: Any, year: int = 2014, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if year not in PUBLISHED:
            raise ValueError(f"datamodule.year={year}: there are {', '.join(map(str, PUBLISHED))}")
        self.year = year
        self.dropped: dict[str, int] = {}

    @property
    def published(self) -> Mapping[str, int]:
        """The counts for the year."""
        return PUBLISHED[self.year]

    @property
    def layout(self) -> Layout:
        """The layout for the year."""
        train, val = f"train{self.year}", f"val{self.year}"
        lists = [f"annotations/instances_{part}.json" for part in (train, val)]
        name = "COCO_train2014_*.jpg" if self.year == 2014 else "*.jpg"
        return Layout(
            name=f"COCO {self.year}",
            needs=(*lists, f"{train}/", f"{val}/"),
            source=f"https://cocodataset.org/#download ({train}.zip, {val}.zip, annotations_trainval{self.year}.zip)",
            tree=f"coco/\n  {lists[0]}\n  {lists[1]}\n  {train}/{name}\n  {val}/{name.replace('train', 'val')}",
        )

    def read(self, root: Path) -> dict[str, Part]:
        """Both lists of instances."""
        parts, categories = {}, {}
        for part, folder in (("train", f"train{self.year}"), ("test", f"val{self.year}")):
            path = root / "annotations" / f"instances_{folder}.json"
            lists = _load(path)
            categories[part] = {key: category["name"] for key, category in lists.cats.items()}
            position = {key: i for i, key in enumerate(lists.cats)}
            if strange := {annotation["category_id"] for annotation in lists.anns.values()} - position.keys():
                raise ValueError(
                    f"{path}: category {min(strange)} of an annotation is none of the {len(position)} listed"
                )
            kept = [key for key in lists.imgs if lists.imgToAnns.get(key)]
            self.dropped[part] = len(lists.imgs) - len(kept)
            log.info("COCO %s: %d pictures without annotations left out", folder, self.dropped[part])
            labels = [sorted({position[a["category_id"]] for a in lists.imgToAnns[key]}) for key in kept]
            paths = [str(root / folder / lists.imgs[key]["file_name"]) for key in kept]
            parts[part] = (paths, multi_hot(labels, len(position)))
        if categories["train"] != categories["test"]:
            raise ValueError(f"the two lists of COCO {self.year} in {root} have different categories")
        self.classes = list(categories["train"].values())
        return parts


def _load(path: Path) -> Any:
    """pycocotools' index of an annotation file. ValueError for one that is no JSON, or JSON of another form."""
    try:
        from pycocotools.coco import COCO as Index
    except ImportError as error:
        raise ImportError("COCO's annotations are read with pycocotools: pip install 'atc-toolkit[coco]'") from error
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
            return Index(str(path))
    except (ValueError, AssertionError) as error:
        raise ValueError(f"{path}: {error}") from error

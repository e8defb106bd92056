"""COCO as a multi-label data set: which of the 80 categories are in a picture (Lin et al., arXiv 1405.0312)."""

import contextlib
import io
import json
import logging
from pathlib import Path
from typing import Any, Literal

from datamodules.base import PictureData
from datamodules.io.files import read_list
from datamodules.io.layout import Layout
from datamodules.io.targets import Part, multi_hot

log = logging.getLogger(__name__)

# Pictures with at least one annotation, of 82,783 and 40,504 in 2014, 118,287 and 5,000 in 2017.
PUBLISHED = {
    2014: {"classes": 80, "train": 82_081, "test": 40_137},
    2017: {"classes": 80, "train": 117_266, "test": 4_952},
}

_FIELDS = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id"), "categories": ("id", "name")}


class COCO(PictureData):
    """Labels in the order the annotations list their categories; any annotation counts, crowds and small ones too.

    Pictures without annotations are left out, as in the authors' code; `dropped` has their number by part. (That code
    keeps three rows of labels by the size of the object and takes their maximum; what comes out is the same.)

    Args:
        *args: as of `PictureData`.
        year: 2014, which the papers use, or 2017 with its other split.
        **kwargs: as of `PictureData`.
    """

    multilabel = True

    def __init__(self, *args: Any, year: Literal[2014, 2017] = 2014, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if year not in PUBLISHED:
            raise ValueError(f"datamodule.year={year}: there are {', '.join(map(str, PUBLISHED))}")
        self.year = year
        self.published = PUBLISHED[year]
        self.layout = _layout(year)
        self.dropped: dict[str, int] = {}

    def read(self, root: Path) -> dict[str, Part]:
        """Both lists of instances."""
        parts: dict[str, Part] = {}
        categories = {}
        for part, folder in (("train", f"train{self.year}"), ("test", f"val{self.year}")):
            path = root / "annotations" / f"instances_{folder}.json"
            lists = _load(path)
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


def _layout(year: int) -> Layout:
    train, val = f"train{year}", f"val{year}"
    lists = [f"annotations/instances_{part}.json" for part in (train, val)]
    name = "COCO_train2014_*.jpg" if year == 2014 else "*.jpg"
    return Layout(
        name=f"COCO {year}",
        needs=(*lists, f"{train}/", f"{val}/"),
        source=f"https://cocodataset.org/#download ({train}.zip, {val}.zip, annotations_trainval{year}.zip)",
        tree=f"coco/\n  {lists[0]}\n  {lists[1]}\n  {train}/{name}\n  {val}/{name.replace('train', 'val')}",
    )


def _load(path: Path) -> Any:
    """The index that pycocotools makes of an annotation file. ValueError for one of another form, or no JSON."""
    try:
        from pycocotools.coco import COCO as Index
    except ImportError as error:
        raise ImportError("COCO's annotations are read with pycocotools: pip install 'atc-toolkit[coco]'") from error
    try:
        content = json.loads(read_list(path))
    except RecursionError as error:
        raise ValueError(f"{path}: nested too deep for a list of annotations") from error
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    _check(path, content)
    index = Index()
    index.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        index.createIndex()
    return index


def _check(path: Path, content: Any) -> None:
    """ValueError for JSON that is no list of instances, or whose annotations are not of its images."""
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no object: annotations are those of instances_*.json")
    for key, fields in _FIELDS.items():
        rows = content.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{path} has no list {key!r}: annotations are those of instances_*.json")
        for field in fields:
            wanted = "text" if "name" in field else "a whole number"
            for number, row in enumerate(rows):
                value = row.get(field)
                if not (isinstance(value, str) or (wanted != "text" and _is_whole(value))):
                    raise ValueError(f"{path}: {key}[{number}] has {field} {_shown(value)}, not {wanted}")
    if not content["annotations"]:
        raise ValueError(f"{path} has no annotations: its list 'annotations' is empty")
    for field, key, word in (("image_id", "images", "image"), ("category_id", "categories", "category")):
        known = {row["id"] for row in content[key]}
        if strange := {row[field] for row in content["annotations"]} - known:
            first = min(strange, key=lambda value: (isinstance(value, str), value))
            such = f", such as {_shown(next(iter(known)))}" if known else ""
            raise ValueError(
                f"{path}: {word} {_shown(first)} of an annotation is none of the {len(known):,} listed{such}"
            )


def _is_whole(value: Any) -> bool:
    """Whether a value is a whole number; 7.0 is one, as Python compares, true is none."""
    return type(value) is int or (type(value) is float and value.is_integer())


def _shown(value: Any) -> str:
    """A value with its type where that could be mistaken: 7, '7' (text)."""
    return f"{value[:80]!r} (text)" if isinstance(value, str) else str(value)[:80]

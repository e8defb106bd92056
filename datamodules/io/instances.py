"""Annotation files in COCO's format: read, checked, indexed."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

from datamodules.io.files import read_list

_FIELDS = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id"), "categories": ("id", "name")}


def load_instances(path: Path) -> Any:
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
                if not (isinstance(value, str) or (wanted != "text" and is_whole(value))):
                    raise ValueError(f"{path}: {key}[{number}] has {field} {shown(value)}, not {wanted}")
    for key in ("images", "categories"):
        seen: set[Any] = set()
        for number, row in enumerate(content[key]):
            if row["id"] in seen:
                raise ValueError(f"{path}: {key}[{number}] has id {shown(row['id'])}, as one before it has")
            seen.add(row["id"])
    if not content["annotations"]:
        raise ValueError(f"{path} has no annotations: its list 'annotations' is empty")
    for field, key, word in (("image_id", "images", "image"), ("category_id", "categories", "category")):
        known = {row["id"] for row in content[key]}
        if strange := {row[field] for row in content["annotations"]} - known:
            first = min(strange, key=lambda value: (isinstance(value, str), value))
            such = f", such as {shown(next(iter(known)))}" if known else ""
            raise ValueError(
                f"{path}: {word} {shown(first)} of an annotation is none of the {len(known):,} listed{such}"
            )


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; 7.0 is one, as Python compares, true is none."""
    return type(value) is int or (type(value) is float and value.is_integer())


def shown(value: Any) -> str:
    """A value with its type where that could be mistaken: 7, '7' (text)."""
    return f"{value[:80]!r} (text)" if isinstance(value, str) else str(value)[:80]

"""Parquet files of pictures and labels, on disk or on the Hugging Face hub, through the `datasets` library."""

import io
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from datamodules.base import Part
from datamodules.layout import Layout

SPLITS = {"train": "train", "validation": "test"}  # the hub's test part of ImageNet has no labels


def open_parquet(root: str | PathLike[str] | None, layout: Layout) -> tuple[dict[str, Part], Mapping[str, Any]]:
    """The parts of a data set with columns image and label, and the tables that ReadRow reads.

    root: a folder, or a name on the hub such as ILSVRC/imagenet-1k (gated: `hf auth login` first). The library
    converts the files once into its own cache. Entries are (split, row).
    """
    if not root:
        raise layout.missing("a folder or a name on the hub: datamodule.root is not set")
    try:
        import datasets
    except ImportError as error:
        raise ImportError("parquet files are read with the datasets library: pip install 'atc-toolkit[hf]'") from error
    path = Path(root).expanduser()
    try:
        tables = datasets.load_dataset(str(path) if path.is_dir() else str(root))
    except (FileNotFoundError, datasets.exceptions.DatasetNotFoundError) as error:
        raise layout.missing(f"parquet files in {root}, which is neither a folder with some nor on the hub") from error
    rows, parts = {}, {}
    for split, part in SPLITS.items():
        if split in tables:
            # Bytes as they are: decoding is Pictures' business, which knows what to do with broken ones.
            rows[split] = tables[split].cast_column("image", datasets.Image(decode=False))
            parts[part] = ([(split, i) for i in range(len(rows[split]))], torch.tensor(tables[split]["label"][:]))
    if "test" not in parts:
        raise layout.missing(f"a split called validation in {root}, which has {', '.join(tables)}")
    return parts, rows


class ReadRow:
    """From an entry (split, row) to the picture in that row."""

    def __init__(self, rows: Mapping[str, Any]):
        self.rows = rows

    def __call__(self, entry: tuple[str, int]) -> Image.Image:
        split, row = entry
        return Image.open(io.BytesIO(self.rows[split][row]["image"]["bytes"])).convert("RGB")

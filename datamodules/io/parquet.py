"""Parquet files of pictures and labels, on disk or on the Hugging Face hub, through the `datasets` library."""

import io
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import torch

from datamodules.io.files import whole_number
from datamodules.io.layout import Layout, RootError
from datamodules.io.listing import Listing
from datamodules.io.pictures import MAX_BYTES
from datamodules.io.targets import Part

SPLITS = {"train": "train", "validation": "test"}  # the hub's test part of ImageNet has no labels
_NAMES = {  # how files and folders of a split are named
    "train": re.compile(r"(^|[^a-z])train(ing)?([^a-z]|$)"),
    "validation": re.compile(r"(^|[^a-z])(val(id|idation)?|dev)([^a-z]|$)"),
}


def open_parquet(
    root: str | PathLike[str] | None, layout: Layout, listing: Listing
) -> tuple[dict[str, Part], Mapping[str, Any]]:
    """The parts of a data set with columns image and label.

    The library converts the files once into its own cache. Of a folder only its parquet files are read, not what
    describes them.

    Args:
        root: a folder, or a name on the hub such as ILSVRC/imagenet-1k (gated: `hf auth login` first).
        layout: for messages.
        listing: what is to list the files.

    Returns:
        The parts, whose entries are (split, row), and the tables that `OpenRow` reads.

    Raises:
        LayoutError: there are no such files.
        ValueError: they cannot be read, or have other columns.
    """
    if not root:
        raise layout.missing("a folder or a name on the hub: datamodule.root is not set", RootError)
    try:
        import datasets
    except ImportError as error:
        raise ImportError("parquet files are read with the datasets library: pip install 'atc-toolkit[hf]'") from error
    path = Path(root).expanduser()
    try:
        tables = _from_folder(path, listing) if path.is_dir() else datasets.load_dataset(str(root))
    except (FileNotFoundError, datasets.exceptions.DatasetNotFoundError) as error:
        raise layout.missing(f"parquet files in {root}, which is neither a folder with some nor on the hub") from error
    except datasets.exceptions.DatasetGenerationError as error:
        raise ValueError(f"{root}: {error.__cause__ or error}") from error
    rows: dict[str, Any] = {}
    parts: dict[str, Part] = {}
    for split, part in SPLITS.items():
        if split not in tables:
            continue
        table = tables[split]
        if lacking := {"image", "label"} - set(table.column_names):
            raise ValueError(
                f"{root}: the {split} table has no column {min(lacking)!r}, only {', '.join(table.column_names)}"
            )
        # Bytes as they are: `Pictures` decodes them, and skips or reports broken ones.
        rows[split] = table.cast_column("image", datasets.Image(decode=False))
        labels = [whole_number(label, f"{root}, {split} row {i}") for i, label in enumerate(table["label"][:])]
        parts[part] = ([(split, i) for i in range(len(labels))], torch.tensor(labels))
    if "test" not in parts:
        raise layout.missing(f"a split called validation in {root}, which has {', '.join(tables) or 'none'}")
    return parts, rows


def _from_folder(folder: Path, listing: Listing) -> Mapping[str, Any]:
    """The splits of a folder's parquet files, told by a word of their names, or of the folder they are in."""
    from datasets import load_dataset

    found: dict[str, list[str]] = {}
    for path in listing.below(folder, lambda name: name.lower().endswith(".parquet")):
        *folders, name = Path(path).relative_to(folder).parts
        named = [split for text in (name, *folders[::-1]) for split in _NAMES if _NAMES[split].search(text.lower())]
        if named:
            found.setdefault(named[0], []).append(path)
    if not found:
        raise FileNotFoundError(str(folder))
    return load_dataset("parquet", data_files=found)


class OpenRow:
    """From an entry (split, row) to the file that holds the picture in that row.

    Args:
        rows: by split, the table.
    """

    def __init__(self, rows: Mapping[str, Any]):
        self.rows = rows

    def __call__(self, entry: tuple[str, int]) -> BinaryIO:
        """The file of a row's picture. ValueError where the row holds none, or far too long a one."""
        split, row = entry
        content = self.rows[split][row]["image"]["bytes"]
        if not isinstance(content, bytes):
            raise ValueError("the row names a file instead of holding a picture")
        if len(content) > MAX_BYTES:
            raise ValueError(f"{len(content):,} bytes, of which at most {MAX_BYTES:,} are read")
        return io.BytesIO(content)

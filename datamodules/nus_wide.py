"""NUS-WIDE in the split of the ASL paper: 81 concepts in photographs from Flickr (Chua et al., CIVR 2009)."""

import ast
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datamodules.base import PictureData
from datamodules.io.files import read_text
from datamodules.io.layout import Layout
from datamodules.io.targets import Part, multi_hot

CSV = "nus_wid_data.csv"

# Names each column goes by, in the released file and in copies of it.
COLUMNS = {
    "filepath": ("filepath", "file_path", "file", "filename", "path", "image"),
    "label": ("label", "labels"),
    "split_name": ("split_name", "split"),
}
PARTS = {"train": "train", "val": "test"}  # the released file calls the part that numbers are reported for "val"


class NUSWide(PictureData):
    """Alibaba-MIIL's 70/30 split of the pictures that have a label; labels in alphabetical order over all parts."""

    same_everywhere = True
    multilabel = True
    layout = Layout(
        name="NUS-WIDE",
        needs=(CSV,),
        source="https://github.com/Alibaba-MIIL/ASL/blob/main/MODEL_ZOO.md (the CSV and the pictures)",
        tree=f"""
nus_wide/
  {CSV}     columns filepath, label ("['clouds', 'sky']"), split_name (train or val)
  images/*.jpg         or wherever the filepath column says, relative to nus_wide/
""",
    )
    published = {"classes": 81}

    def read(self, root: Path) -> dict[str, Part]:
        """The CSV, its columns found by name wherever they stand."""
        try:
            lists = self._lists(root)
        except csv.Error as error:
            raise ValueError(f"{root / CSV}: {error}") from error
        self.classes = sorted({name for _, labels in lists.values() for names in labels for name in names})
        position = {name: i for i, name in enumerate(self.classes)}
        return {
            part: (paths, multi_hot([[position[name] for name in names] for names in labels], len(position)))
            for part, (paths, labels) in lists.items()
        }

    def _lists(self, root: Path) -> dict[str, tuple[list[str], list[list[str]]]]:
        """Paths and labels by part."""
        path = root / CSV
        rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
        columns = _columns(path, rows.fieldnames or ())
        lists: dict[str, tuple[list[str], list[list[str]]]] = {part: ([], []) for part in PARTS.values()}
        for row in rows:
            filepath, label, split = (row[columns[key]] for key in COLUMNS)
            where = f"{path}, line {rows.line_num}"
            if split not in PARTS:
                raise ValueError(f"{where}: the split is {split!r}, not one of {', '.join(PARTS)}")
            paths, labels = lists[PARTS[split]]
            paths.append(self.path(root, filepath, where))
            labels.append(_labels(where, label))
        return lists


def _columns(path: Path, found: Sequence[str]) -> dict[str, str]:
    """The header's name of each column needed."""
    plain = {name.strip().lower(): name for name in found}
    columns = {}
    for key, names in COLUMNS.items():
        match = [plain[name] for name in names if name in plain]
        if not match:
            raise ValueError(f"{path} has no column {key!r}: its columns are {', '.join(found) or 'none'}")
        columns[key] = match[0]
    return columns


def _labels(where: str, text: str | None) -> list[str]:
    """The Python list a cell spells out, read as data, never run."""
    if text is None:
        raise ValueError(f"{where}: the line ends before its label")
    try:
        value: Any = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"{where}: the label is not a list: {text[:80]!r}") from error
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{where}: the label is not a list of names: {text[:80]!r}")
    return list(value)

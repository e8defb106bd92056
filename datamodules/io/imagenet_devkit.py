"""ImageNet's validation photographs as they are distributed: in one folder, their classes in a file beside it."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import torch

from datamodules.io.files import read_text, whole_number
from datamodules.io.layout import Layout
from datamodules.io.listing import Listing
from datamodules.io.matlab import read_mat
from datamodules.io.targets import Part

DEVKIT = "ILSVRC2012_devkit_t12/data"
META = "meta.mat"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
KAGGLE = "LOC_val_solution.csv"


def flat_folder(folder: Path, number: Mapping[str, int], layout: Layout, listing: Listing) -> Part:
    """The photographs of a flat val/.

    Args:
        folder: val/.
        number: from WordNet id to class index.
        layout: for messages.
        listing: what is to list the photographs.

    Raises:
        LayoutError: there is neither the devkit nor Kaggle's list beside val/, or no photograph in it.
    """
    paths = [Path(path) for path in listing.directly(folder)]
    if not paths:
        raise layout.missing(f"photographs or class folders in {folder}")
    root = folder.parent
    if (root / DEVKIT / GROUND_TRUTH).is_file():
        if not (root / DEVKIT / META).exists():
            raise layout.missing(f"{META} beside {root / DEVKIT / GROUND_TRUTH}")
        wnids = _devkit(root / DEVKIT)
    elif (root / KAGGLE).is_file():
        wnids = _kaggle(root / KAGGLE)
    else:
        raise layout.missing(f"the classes of the photographs in {folder}: {DEVKIT}/ or {KAGGLE} in {root}")
    unknown = [path for path in paths if path.stem not in wnids]
    if unknown:
        raise ValueError(f"{len(unknown)} photographs have no class in the list beside val/, such as {unknown[0]}")
    return [str(path) for path in paths], torch.tensor([number[wnids[path.stem]] for path in paths])


def _devkit(folder: Path) -> dict[str, str]:
    """From file stem to WordNet id: line n of the ground truth is the devkit's own number for the class of photo n."""
    synsets = read_mat(folder / META)["synsets"]
    wnid = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
    found = {}
    for n, line in enumerate(read_text(folder / GROUND_TRUTH).split(), 1):
        where = f"{folder / GROUND_TRUTH}, line {n}"
        if (number := whole_number(line, where)) not in wnid:
            raise ValueError(f"{where}: {META} has no class {number}")
        found[f"ILSVRC2012_val_{n:08d}"] = wnid[number]
    return found


def _kaggle(path: Path) -> dict[str, str]:
    """From file stem to WordNet id: columns ImageId and PredictionString, which starts with the id."""
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    found = {}
    try:
        for row in rows:
            if not row.get("ImageId") or not (words := (row.get("PredictionString") or "").split()):
                raise ValueError(f"{path}, line {rows.line_num}: expected ImageId and PredictionString")
            found[row["ImageId"]] = words[0]
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: {error}") from error
    return found

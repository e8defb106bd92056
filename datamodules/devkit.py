"""ImageNet's validation photographs as they are distributed: in one folder, their classes in a file beside it."""

import csv
from collections.abc import Mapping
from pathlib import Path

import torch

from datamodules.base import Part
from datamodules.layout import Layout
from datamodules.matlab import read_mat

DEVKIT = "ILSVRC2012_devkit_t12/data"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
KAGGLE = "LOC_val_solution.csv"


def flat_folder(folder: Path, number: Mapping[str, int], layout: Layout) -> Part:
    """The photographs of a flat val/. number: from WordNet id to class index.

    LayoutError if there is neither the devkit nor Kaggle's list beside val/, or no photograph in it.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpeg", ".jpg"))
    if not paths:
        raise layout.missing(f"photographs or class folders in {folder}")
    root = folder.parent
    if (root / DEVKIT / GROUND_TRUTH).is_file():
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
    synsets = read_mat(folder / "meta.mat")["synsets"]
    wnid = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
    lines = (folder / GROUND_TRUTH).read_text().split()
    return {f"ILSVRC2012_val_{n:08d}": wnid[int(line)] for n, line in enumerate(lines, 1)}


def _kaggle(path: Path) -> dict[str, str]:
    """From file stem to WordNet id: columns ImageId and PredictionString, which starts with the id."""
    with path.open(newline="") as file:
        return {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}

"""Folders of class folders."""

from pathlib import Path

import pytest

from datamodules.io.layout import LayoutError
from tests.datamodules.on_disk import load, write_class_folders

CLASSES = ("ant", "bee", "cow")


def test_train_and_val(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "train", CLASSES, each=10)
    write_class_folders(tmp_path / "val", CLASSES, each=3, suffix="png")
    data = load("folder", tmp_path)
    assert data.num_classes == 3
    assert data.classes == list(CLASSES)
    assert {part: len(entries) for part, (entries, _) in data.parts.items()} == {"train": 27, "val": 3, "test": 9}
    for entries, targets in data.parts.values():
        assert [Path(entry).parent.name for entry in entries] == [CLASSES[i] for i in targets]


def test_three_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    for part, each in (("train", 5), ("val", 2), ("test", 3)):
        write_class_folders(tmp_path / part, CLASSES, each)
    data = load("folder", tmp_path)
    assert {part: len(entries) for part, (entries, _) in data.parts.items()} == {"train": 15, "val": 6, "test": 9}


def test_class_folders_alone_are_split(tmp_path: Path) -> None:
    write_class_folders(tmp_path, CLASSES, each=20)
    data = load("folder", tmp_path)
    assert {part: len(entries) for part, (entries, _) in data.parts.items()} == {"train": 49, "val": 5, "test": 6}
    used = [entry for entries, _ in data.parts.values() for entry in entries]
    assert len(set(used)) == 60
    assert data.parts["test"][1].bincount().tolist() == [2, 2, 2]
    again = load("folder", tmp_path, seed=7)
    assert again.parts["test"][0] == data.parts["test"][0], "the split does not depend on the seed of the run"


@pytest.mark.parametrize("parts", [("test", "val"), ("Train", "VAL"), ("training", "validation"), ("ant", "valid")])
def test_parts_are_not_taken_for_classes(tmp_path: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        write_class_folders(tmp_path / part, CLASSES)
    said = rf"missing train/ in {tmp_path}, which has {', '.join(part for part in parts if part != 'ant')}: parts"
    with pytest.raises(LayoutError, match=said):
        _ = load("folder", tmp_path).num_classes


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"datamodule.root is not set"):
        _ = load("folder", None).num_classes
    with pytest.raises(LayoutError, match="is missing pictures: Couldn't find any class folder"):
        _ = load("folder", tmp_path).num_classes
    write_class_folders(tmp_path / "train", CLASSES)
    with pytest.raises(LayoutError, match="is missing val/ or test/ beside train/"):
        _ = load("folder", tmp_path).num_classes
    write_class_folders(tmp_path / "val", ("ant", "bee", "dog"))
    with pytest.raises(ValueError, match="differ in 2 class folders, such as cow"):
        _ = load("folder", tmp_path).num_classes

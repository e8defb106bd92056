"""NABirds from its five lists."""

from pathlib import Path

import pytest
import torch

from datamodules.io.layout import LayoutError
from tests.datamodules.on_disk import load, write_nabirds


def test_classes_are_the_sorted_ids_and_the_hierarchy_is_kept(tmp_path: Path) -> None:
    write_nabirds(tmp_path, class_ids=(904, 7, 331))
    data = load("nabirds", tmp_path)
    assert data.num_classes == 3
    assert data.class_ids == [7, 331, 904]
    assert list(data.classes) == ["Bird 7 (Adult male)", "Bird 331 (Adult male)", "Bird 904 (Adult male)"]
    assert data.hierarchy == {2: 0, 904: 2, 7: 2, 331: 2}
    assert data.ancestors == [[2, 0]] * 3
    assert data.names[0] == "Birds"


def test_parts_and_targets(tmp_path: Path) -> None:
    write_nabirds(tmp_path, train=18, test=9, class_ids=(904, 7, 331))
    data = load("nabirds", tmp_path)
    assert {part: len(entries) for part, (entries, _) in data.released.items()} == {"train": 18, "test": 9}
    for entries, targets in data.released.values():
        for path, target in zip(entries, targets.tolist(), strict=True):
            assert data.class_ids[target] == int(Path(path).parent.name)
    images, targets = next(iter(data.test_dataloader()))
    assert images.shape == (4, 3, 32, 32)
    assert images.dtype == torch.float32
    assert targets.dtype == torch.int64


@pytest.mark.parametrize("name", ["images.txt", "train_test_split.txt", "hierarchy.txt"])
def test_a_missing_list_is_named(tmp_path: Path, name: str) -> None:
    write_nabirds(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(LayoutError, match=f"NABirds is missing {name} in ") as error:
        _ = load("nabirds", tmp_path).num_classes
    assert "https://dl.allaboutbirds.org/nabirds" in str(error.value)
    assert "image_class_labels.txt    picture id, class id" in str(error.value)


def test_lists_that_disagree_are_refused(tmp_path: Path) -> None:
    write_nabirds(tmp_path)
    path = tmp_path / "train_test_split.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match="differ in 1 picture ids"):
        _ = load("nabirds", tmp_path).num_classes
    path.write_text("nothing\n")
    with pytest.raises(ValueError, match="line 1: expected an id, a space and a value"):
        _ = load("nabirds", tmp_path).num_classes


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("classes.txt", b"7 Bird 7 (Adult male)\n", b"", "classes.txt lacks 1 classes of the pictures, such as 7"),
        ("classes.txt", b"(Adult", "(Grünfink".encode("latin-1"), "classes.txt: 'utf-8' codec can't decode"),
        ("train_test_split.txt", b" 0\n", b" 2\n", "train_test_split.txt: .* has '2', neither 1"),
    ],
)
def test_a_damaged_list_is_named(tmp_path: Path, name: str, old: bytes, new: bytes, said: str) -> None:
    write_nabirds(tmp_path)
    path = tmp_path / name
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"^{tmp_path}/{said}"):
        _ = load("nabirds", tmp_path).num_classes


def test_a_byte_order_mark_is_no_part_of_an_id(tmp_path: Path) -> None:
    write_nabirds(tmp_path)
    path = tmp_path / "classes.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    data = load("nabirds", tmp_path)
    assert data.num_classes == 3
    assert data.names[0] == "Birds"

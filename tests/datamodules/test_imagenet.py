"""Folders named by WordNet ids."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from atc import run
from datamodules.io.layout import LayoutError
from tests.datamodules.on_disk import load
from tests.harness.commands import composed

TENCH, GOLDFISH, TOILET_TISSUE = "n01440764", "n01443537", "n15075141"  # classes 0, 1 and 999


def photographs(root: Path, part: str, kinds: dict[str, int]) -> None:
    for kind, number in kinds.items():
        folder = root / part / kind
        folder.mkdir(parents=True)
        for i in range(number):
            Image.new("RGB", (40 + i, 36), (40 * i, 90, 200)).save(folder / f"{i}.JPEG")


def test_classes_are_numbered_as_in_the_whole_data_set(tmp_path: Path) -> None:
    photographs(tmp_path, "val", {TOILET_TISSUE: 1, TENCH: 2, GOLDFISH: 1})
    data = load("imagenet", tmp_path)
    assert data.num_classes == 1000
    images, classes = next(iter(data.test_dataloader()))
    assert classes.tolist() == [0, 0, 1, 999]
    assert images.shape == (4, 3, 32, 32)


def test_training_needs_train(tmp_path: Path) -> None:
    photographs(tmp_path, "val", {TENCH: 1})
    data = load("imagenet", tmp_path)
    with pytest.raises(LayoutError, match="ImageNet is missing train/"):
        data.train_dataloader()
    with pytest.raises(LayoutError, match="ImageNet is missing train/"):  # before anything is evaluated
        run.train(composed("train", tmp_path / "run", "datamodule=imagenet", f"datamodule.root={tmp_path}"))


def test_selection_is_held_out_of_train(tmp_path: Path) -> None:
    photographs(tmp_path, "val", {TENCH: 1})
    photographs(tmp_path, "train", {TENCH: 6, GOLDFISH: 4})
    data = load("imagenet", tmp_path, held_out=0.2)
    train, val, test = (set(data.parts[part][0]) for part in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (8, 2, 1)
    assert not train & val
    images, classes = next(iter(data.train_dataloader()))
    assert images.shape == (4, 3, 32, 32)
    assert set(classes.tolist()) <= {0, 1}


def test_other_folders_are_refused_with_the_layout(tmp_path: Path) -> None:
    photographs(tmp_path, "val", {TENCH: 1, "goldfish": 1})
    with pytest.raises(LayoutError, match="1 others, such as goldfish") as error:
        load("imagenet", tmp_path).test_dataloader()
    assert "PATH/val/n01440764" in str(error.value)


@pytest.mark.parametrize("root", ["nowhere", ""])
def test_missing_data_says_where_to_get_it(tmp_path: Path, root: str) -> None:
    with pytest.raises(LayoutError, match=r"image-net\.org"):
        load("imagenet", tmp_path / root).test_dataloader()


def test_centre_crop(tmp_path: Path) -> None:
    """Short side to size / .875, then the middle: a white frame that thin is cut off."""
    folder = tmp_path / "val" / TENCH
    folder.mkdir(parents=True)
    picture = Image.new("RGB", (256, 256), "white")
    picture.paste(Image.new("RGB", (232, 232), "black"), (12, 12))
    picture.save(folder / "0.png")
    images, _ = next(iter(load("imagenet", tmp_path, size=224).test_dataloader()))
    assert images.shape == (1, 3, 224, 224)
    torch.testing.assert_close(images, torch.full_like(images, -1.0))

"""COCO's instances as multi-label targets."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules.io.layout import LayoutError
from datamodules.scenes import KINDS
from tests.datamodules.on_disk import load, write_coco

pytest.importorskip("pycocotools", reason="COCO is an extra: pip install 'atc-toolkit[coco]'")


@pytest.mark.parametrize("year", [2014, 2017])
def test_labels_in_the_order_of_the_categories(tmp_path: Path, year: int, caplog: pytest.LogCaptureFixture) -> None:
    scenes = write_coco(tmp_path, year, train=12, val=6, empty=2)
    data = load("coco", tmp_path, year=year)
    with caplog.at_level(logging.INFO):
        assert data.num_classes == 10
    assert data.classes == list(reversed(KINDS)), "the order of the file, not of the alphabet"
    for part, folder in (("train", f"train{year}"), ("test", f"val{year}")):
        entries, targets = data.released[part]
        assert len(entries) == len(scenes[folder])
        assert all(Path(entry).is_file() for entry in entries)
        for row, scene in zip(targets.tolist(), scenes[folder], strict=True):
            assert row[::-1] == scene.labels.tolist()
    assert data.dropped == {"train": 2, "test": 2}
    assert f"COCO val{year}: 2 pictures without annotations left out" in caplog.text


def test_batches(tmp_path: Path) -> None:
    write_coco(tmp_path)
    images, targets = next(iter(load("coco", tmp_path).train_dataloader()))
    assert images.shape == (4, 3, 32, 32)
    assert targets.shape == (4, 10)
    assert targets.is_floating_point()


def test_small_objects_and_crowds_count(tmp_path: Path) -> None:
    """As in the maximum over the authors' three rows of small, medium and large."""
    write_coco(tmp_path)
    path = tmp_path / "annotations" / "instances_train2014.json"
    content = json.loads(path.read_text())
    for annotation, area in zip(content["annotations"], (4.0, 5000.0, 50000.0), strict=False):
        annotation.update(area=area, iscrowd=1)
    path.write_text(json.dumps(content))
    again = load("coco", tmp_path).released["train"][1]
    write_coco(tmp_path)
    assert (again == load("coco", tmp_path).released["train"][1]).all()


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"COCO 2014 is missing annotations/instances_train2014.json in "):
        _ = load("coco", tmp_path).num_classes
    write_coco(tmp_path)
    first = sorted((tmp_path / "val2014").iterdir())[0]
    first.unlink()
    with pytest.raises(LayoutError, match=f"{first.name}, the first of 6 listed test pictures"):
        _ = load("coco", tmp_path).num_classes
    with pytest.raises(ValueError, match=r"datamodule.year=2015: there are 2014, 2017"):
        load("coco", tmp_path, year=2015)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:2000], "Expecting|Unterminated|delimiter"),
        (lambda text: f"[{text}]", "holds no object: annotations are those of"),
        (
            lambda text: json.dumps(json.loads(text) | {"categories": []}),
            "category 3 of an annotation is none of the 0",
        ),
        (lambda text: text.replace('"category_id": 3', '"category_id": 99'), "category 99 of .* none of the 10 listed"),
    ],
)
def test_a_damaged_list_is_named(tmp_path: Path, damage: Callable[[str], str], said: str) -> None:
    write_coco(tmp_path, train=20)
    path = tmp_path / "annotations" / "instances_train2014.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=rf"^{path}:? .*({said})"):
        _ = load("coco", tmp_path).num_classes

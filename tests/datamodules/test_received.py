"""Data sets from somebody else: no list leads out of its folder, and no file is believed about its size."""

import json
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from datamodules.io import files
from datamodules.io.files import join, read_list, whole_number
from datamodules.public import VOC_FOLDER
from tests.datamodules import on_disk
from tests.datamodules.on_disk import load

OUT = ("../../outside/secret.jpg", "/etc/secret.jpg", "a/../../secret.jpg", "../..", "a\\..\\secret.jpg")


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def nabirds(root: Path, name: str) -> None:
    on_disk.write_nabirds(root)
    path = root / "images.txt"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([f"{first.split()[0]} {name}", *rest]))


def coco(root: Path, name: str) -> None:
    pytest.importorskip("pycocotools")
    on_disk.write_coco(root)
    path = root / "annotations" / "instances_val2014.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))


def nus_wide(root: Path, name: str) -> None:
    rows = on_disk.write_nus_wide(root)
    replaced(root / "nus_wid_data.csv", rows[0][0], name)


def voc(root: Path, name: str) -> None:
    on_disk.write_voc(root)
    path = root / VOC_FOLDER / "ImageSets" / "Main" / "test.txt"
    path.write_text(f"{name}\n{path.read_text()}")


def voc_segmentation(root: Path, name: str) -> None:
    on_disk.write_voc_segmentation(root)
    path = root / on_disk.VOC_2012 / "ImageSets" / "Segmentation" / "val.txt"
    path.write_text(f"{name}\n{path.read_text()}")


LISTS: dict[str, Callable[[Path, str], None]] = {
    "nabirds": nabirds,
    "coco": coco,
    "nus_wide": nus_wide,
    "voc_multilabel": voc,
    "voc_segmentation": voc_segmentation,
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("place", OUT)
def test_a_list_does_not_lead_out_of_its_folder(tmp_path: Path, name: str, place: str) -> None:
    LISTS[name](tmp_path, place)
    with pytest.raises(ValueError, match=r"leads out of .*: a listed path is relative and has no '..'") as error:
        _ = load(name, tmp_path).released
    assert str(error.value).startswith(str(tmp_path))


def test_a_listed_link_that_leads_out(tmp_path: Path) -> None:
    on_disk.write_nabirds(tmp_path / "data")
    secret = tmp_path / "secret.jpg"
    on_disk.save(secret, 0)
    path = load("nabirds", tmp_path / "data").released["test"][0][2]
    Path(path).unlink()
    Path(path).symlink_to(secret)
    assert load("nabirds", tmp_path / "data").released["test"][0][2] == path
    with pytest.raises(ValueError, match=r"images.txt, .* is a link that leaves .*follow_links=false refuses"):
        _ = load("nabirds", tmp_path / "data", follow_links=False).released
    (tmp_path / "linked").symlink_to(tmp_path / "data")  # the root itself may be a link
    Path(path).unlink()
    on_disk.save(Path(path), 0)
    assert load("nabirds", tmp_path / "linked", follow_links=False).num_classes == 3


def test_join() -> None:
    folder = Path("data/images")
    assert join(folder, "a/b c.jpg", "list") == "data/images/a/b c.jpg"
    assert join(folder, "./a//..b..jpg", "list") == "data/images/a/..b..jpg"
    for name in ("", None, "a\0b"):
        with pytest.raises(ValueError, match=r"^list, line 3: expected a path below data/images, found"):
            join(folder, name, "list, line 3")


@pytest.mark.parametrize("value", ["817.0", "1e3", "", "x", "٣", "9" * 19, 1.5, float("nan"), 1e300, True, None, [1]])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^list, line 3: expected a whole number, found '"):
        whole_number(value, "list, line 3")
    assert (whole_number(" 817 ", ""), whole_number(817.0, ""), whole_number(-1, "")) == (817, 817, -1)


@pytest.mark.parametrize("name", ["image_class_labels.txt", "hierarchy.txt", "classes.txt"])
def test_a_number_of_nabirds_names_its_file(tmp_path: Path, name: str) -> None:
    on_disk.write_nabirds(tmp_path)
    path = tmp_path / name
    key, value = path.read_text().splitlines()[1].split(" ", 1)
    line = f"{key}.0 {value}" if name == "classes.txt" else f"{key} {value}.0"
    replaced(path, f"{key} {value}", line)
    with pytest.raises(ValueError, match=rf"^{path}, .*{key}.*: expected a whole number, found '\d+\.0'"):
        _ = load("nabirds", tmp_path).released


def test_an_id_of_nabirds_that_is_there_twice(tmp_path: Path) -> None:
    on_disk.write_nabirds(tmp_path)
    path = tmp_path / "images.txt"
    path.write_text(path.read_text() + path.read_text().splitlines()[0])
    with pytest.raises(ValueError, match=rf"^{path}, line 28: the id \S+ is there twice"):
        _ = load("nabirds", tmp_path).released


def _coco(change: Callable[[dict[str, Any]], Any]) -> Callable[[str], str]:
    def changed(text: str) -> str:
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            _coco(lambda content: content["annotations"][0].update(image_id="1000")),
            r"image '1000' \(text\) of an annotation is none of the 22 listed, such as 1\d\d\d",
        ),
        (_coco(lambda content: content.update(annotations=[])), "has no annotations: its list 'annotations' is empty"),
        (_coco(lambda content: content.pop("annotations")), "has no list 'annotations'"),
        (_coco(lambda content: content.update(images=[7])), "has no list 'images'"),
        (_coco(lambda content: content["images"][3].pop("file_name")), r"images\[3\] has file_name None, not text"),
        (
            _coco(lambda content: content["annotations"][2].update(category_id=[])),
            r"annotations\[2\] has category_id \[\]",
        ),
        (_coco(lambda content: content["images"][0].update(id=1.5)), r"images\[0\] has id 1.5, not a whole number"),
        (_coco(lambda content: content["images"][0].update(id=True)), r"images\[0\] has id True, not a whole number"),
        (lambda text: "[" * 200_000, "nested too deep"),
        (lambda text: "\xff", "invalid start byte|Expecting value"),
    ],
)
def test_what_is_wrong_with_annotations_is_named(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    pytest.importorskip("pycocotools")
    on_disk.write_coco(tmp_path, train=20)
    path = tmp_path / "annotations" / "instances_train2014.json"
    path.write_text(change(path.read_text()), encoding="latin-1")
    with pytest.raises(ValueError, match=rf"^{path}:? .*({said})") as error:
        _ = load("coco", tmp_path).num_classes
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [str, float])
def test_annotations_whose_ids_are_of_another_type_throughout(tmp_path: Path, kind: type) -> None:
    pytest.importorskip("pycocotools")
    on_disk.write_coco(tmp_path)
    before = load("coco", tmp_path).released["train"]
    for path in (tmp_path / "annotations").iterdir():
        content = json.loads(path.read_text())
        for key, rows in (("id", content["images"]), ("image_id", content["annotations"])):
            for row in rows:
                row[key] = kind(row[key])
        path.write_text(json.dumps(content))
    after = load("coco", tmp_path).released["train"]
    assert after[0] == before[0]
    assert (after[1] == before[1]).all()


@pytest.mark.parametrize("label", ["[" * 100_000, "-" * 100_000 + "1", "['a" + "b" * 200_000 + "']", None])
def test_labels_of_nus_wide_that_are_no_lists(tmp_path: Path, label: str | None) -> None:
    on_disk.write_nus_wide(tmp_path)
    path = tmp_path / "nus_wid_data.csv"
    head, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, first.split(",")[0] + (f',"{label}",train' if label else ""), *rest]))
    with pytest.raises(ValueError, match=rf"^{path}(, line 2)?: (the label|field larger|the split is None)"):
        _ = load("nus_wide", tmp_path).num_classes


@pytest.mark.parametrize("bomb", ["inflated", "cells", "deep", "cut", "version 4", "object"])
def test_mat_files_are_measured_before_they_are_believed(tmp_path: Path, bomb: str) -> None:
    on_disk.write_flowers(tmp_path)
    path = tmp_path / "flowers-102" / "setid.mat"
    said = {
        "inflated": "it inflates to more than 33,554,432 bytes",
        "cells": r"it declares 2,147,483,648 values in \d+ bytes",
        "deep": "it is nested more than 16 deep",
        "cut": "it is cut off",
        "version 4": "its header is not that of MATLAB 5",
        "object": "it holds an object or a function",
    }[bomb]
    values: Any = np.array(["x", "yy"], dtype=object)
    if bomb == "deep":
        for _ in range(20):
            values, inner = np.empty(1, dtype=object), values
            values[0] = inner
    old = bomb == "version 4"
    savemat(path, {"trnid": np.zeros((2, 2)) if old else values}, format="4" if old else "5")
    content = bytearray(path.read_bytes())
    if bomb == "inflated":
        element = zlib.compress(struct.pack("<II", 14, 1 << 26) + bytes(1 << 26))
        content = content[:128] + struct.pack("<II", 15, len(element)) + element
    elif bomb == "cells":
        at = content.index(struct.pack("<ii", 1, 2))
        content[at : at + 8] = struct.pack("<ii", 1 << 30, 2)
    elif bomb == "cut":
        content = content[:-40]
    elif bomb == "object":
        at = content.index(struct.pack("<II", 6, 8)) + 8
        content[at] = 17
    path.write_bytes(content)
    start = time.monotonic()
    with pytest.raises(ValueError, match=rf"^{path} is damaged, or no \.mat file: {said}"):
        _ = load("flowers102", tmp_path).released
    assert time.monotonic() - start < 20


def test_a_picture_of_flowers_that_there_is_not(tmp_path: Path) -> None:
    on_disk.write_flowers(tmp_path)
    savemat(tmp_path / "flowers-102" / "setid.mat", {"trnid": [[1, 0]], "valid": [[2]], "tstid": [[3]]})
    with pytest.raises(ValueError, match=r"setid.mat: trnid has picture 0 of 314"):
        _ = load("flowers102", tmp_path).released


def test_a_document_type_in_an_annotation_of_voc(tmp_path: Path) -> None:
    on_disk.write_voc(tmp_path)
    path = tmp_path / VOC_FOLDER / "Annotations" / "000003.xml"
    path.write_text(
        f"<!DOCTYPE a [<!ENTITY a '{'a' * 99}'>]><annotation><object><name>&a;</name></object></annotation>"
    )
    with pytest.raises(ValueError, match=rf"^{path}: a document type"):
        _ = load("voc_multilabel", tmp_path).released


@pytest.mark.parametrize("place", ["Annotations/000003.xml", "ImageSets/Main/trainval.txt"])
def test_a_fifo_among_the_lists_is_not_waited_for(tmp_path: Path, place: str) -> None:
    on_disk.write_voc(tmp_path)
    path = tmp_path / VOC_FOLDER / place
    path.unlink()
    os.mkfifo(path)
    with pytest.raises((ValueError, OSError), match=f"{path} is a FIFO|missing .*{place}"):
        _ = load("voc_multilabel", tmp_path).released


def test_lists_have_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "list"
    with path.open("wb") as file:
        file.truncate(files.MAX_LIST + 1)  # takes no room on disk
    with pytest.raises(ValueError, match=r"list has 1,073,741,825 bytes, of which at most 1,073,741,824 are read"):
        read_list(path)

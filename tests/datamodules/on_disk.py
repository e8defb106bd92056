"""Writes drawn scenes to disk in the real formats of the data sets, and builds datamodules from conf/."""

import csv
import io
import json
import pickle
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from scipy.io import savemat

from datamodules.public import VOC_FOLDER, VOC_KINDS
from datamodules.scenes import KINDS, Scene, draw
from datamodules.shapes_segmentation import labels_of
from datamodules.voc_segmentation import FOLDER as VOC_2012

CONF = Path(__file__).resolve().parents[2] / "conf" / "datamodule"
DATA_CONFIG = {"input_size": (3, 32, 32), "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def load(name: str, root: Path | None, size: int = 32, **settings: Any) -> Any:
    """The datamodule of conf/datamodule/NAME.yaml, adapted to a backbone that takes size x size pixels."""
    node = OmegaConf.load(CONF / f"{name}.yaml")
    node.pop("defaults", None)
    config = OmegaConf.create({"seed": 0, "paths": {"data": "data"}, "datamodule": node})
    changes = {"batch_size": 4, "eval_batch_size": 4, "num_workers": 0, **settings}
    if root is not None:
        changes["root"] = str(root)
    OmegaConf.update(config, "datamodule", changes)
    try:
        data = instantiate(config.datamodule)
    except InstantiationException as error:
        raise error.__cause__ or error from None
    data.adapt(DATA_CONFIG | {"input_size": (3, size, size)})
    return data


def save(path: Path, seed: int, size: int = 48) -> Scene:
    """One scene as a file, of the format its name says."""
    scene = draw(seed, size)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.image).save(path)
    return scene


def write_nabirds(root: Path, train: int = 18, test: int = 9, class_ids: Sequence[int] = (904, 7, 331)) -> None:
    """The five lists and the pictures; classes in turn, of which the ids given are leaves below 2, below 0."""
    flags = [1] * train + [0] * test
    names = {0: "Birds", 2: "Perching Birds", **{key: f"Bird {key} (Adult male)" for key in class_ids}}
    images, labels, splits = [], [], []
    for i, flag in enumerate(flags):
        key = f"{i:08x}-21dc-4d0c-bfe1-4cae3c85c829"
        class_id = class_ids[i % len(class_ids)]
        path = f"{class_id:04d}/{key.replace('-', '')}.jpg"
        save(root / "images" / path, i)
        images.append(f"{key} {path}")
        labels.append(f"{key} {class_id}")
        splits.append(f"{key} {flag}")
    lists = {
        "images.txt": images,
        "image_class_labels.txt": labels,
        "train_test_split.txt": splits[::-1],  # nothing says that the lists have the same order
        "classes.txt": [f"{key} {name}" for key, name in names.items()],
        "hierarchy.txt": ["2 0", *(f"{key} 2" for key in class_ids)],
    }
    for name, lines in lists.items():
        (root / name).write_text("\n".join(lines) + "\n")


def write_coco(root: Path, year: int = 2014, train: int = 12, val: int = 6, empty: int = 2) -> dict[str, list[Scene]]:
    """Instances with boxes, areas and masks as run lengths; `empty` further pictures of each part have none.

    Category ids have gaps and are not in order, as COCO's have gaps. Returns the annotated scenes by part.
    """
    ids = {name: 3 + 7 * i for i, name in enumerate(reversed(KINDS))}
    categories = [{"id": key, "name": name, "supercategory": "shape"} for name, key in ids.items()]
    prefix = {2014: "COCO_{}_", 2017: ""}[year]
    scenes: dict[str, list[Scene]] = {}
    for part, count, first in ((f"train{year}", train, 1000), (f"val{year}", val, 5000)):
        images, annotations, scenes[part] = [], [], []
        for number in range(first, first + count + empty):
            name = f"{prefix.format(part)}{number:012d}.jpg"
            scene = save(root / part / name, number)
            side = scene.image.shape[0]
            images.append({"id": number, "file_name": name, "height": side, "width": side, "license": 1})
            if number >= first + count:
                continue
            scenes[part].append(scene)
            for kind, mask, (x0, y0, x1, y1) in zip(scene.kinds, scene.masks, scene.boxes.tolist(), strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": ids[list(KINDS)[kind]],
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": float(mask.sum()),
                        "iscrowd": 0,
                        "segmentation": _run_lengths(mask),
                    }
                )
        content = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
        path = root / "annotations" / f"instances_{part}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return scenes


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run lengths: down the columns, starting with the background."""
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return {"counts": [0, *runs] if flat[0] else runs, "size": list(mask.shape)}


def write_nus_wide(
    root: Path, train: int = 14, val: int = 6, columns: Sequence[str] = ("filepath", "label", "split_name")
) -> list[tuple[str, list[str], str]]:
    """The CSV and the pictures; returns its rows in the order filepath, names, split."""
    rows = []
    for i in range(train + val):
        path = f"images/{i:04d}_2124494179_b039ddccac_m.jpg"
        scene = save(root / path, i)
        names = [list(KINDS)[kind] for kind in dict.fromkeys(scene.kinds.tolist())]
        rows.append((path, names, "train" if i < train else "val"))
    with (root / "nus_wid_data.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        for path, names, split in rows:
            row = dict.fromkeys(columns, "7")
            writer.writerow(row | {"filepath": path, "label": str(names), "split_name": split})
    return rows


def write_class_folders(root: Path, classes: Sequence[str], each: int = 4, suffix: str = "jpg") -> None:
    """root/CLASS/N.suffix."""
    for c, name in enumerate(classes):
        for i in range(each):
            save(root / name / f"{name}_{i}.{suffix}", 100 * c + i)


def write_flowers(root: Path, train: int = 102, val: int = 102, test: int = 110) -> np.ndarray:
    """The two .mat files and the pictures, picture n having label n modulo 102; returns the labels from 1."""
    count = train + val + test
    labels = np.arange(count) % 102 + 1
    folder = root / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    order = np.random.default_rng(0).permutation(count) + 1
    savemat(folder / "imagelabels.mat", {"labels": labels.astype(np.uint8)[None]})
    cuts = {"trnid": order[:train], "valid": order[train : train + val], "tstid": order[train + val :]}
    savemat(folder / "setid.mat", {name: part.astype(np.uint16)[None] for name, part in cuts.items()})
    picture = Image.fromarray(draw(0, 32).image)
    for number in range(1, count + 1):
        picture.save(folder / "jpg" / f"image_{number:05d}.jpg")
    return labels


def write_cifar100(root: Path, train: int = 200, test: int = 100) -> dict[str, np.ndarray]:
    """The three pickles of the python version; returns the pictures [n, 32, 32, 3] by part."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    pictures = {}
    for part, count, first in (("train", train, 0), ("test", test, 10_000)):
        pictures[part] = np.stack([draw(first + i, 32).image for i in range(count)])
        content = {
            "data": pictures[part].transpose(0, 3, 1, 2).reshape(count, -1),
            "fine_labels": [i % 100 for i in range(count)],
            "coarse_labels": [i % 20 for i in range(count)],
            "filenames": [f"{i}.png" for i in range(count)],
        }
        (folder / part).write_bytes(pickle.dumps(content))
    names = [f"thing{i:02d}" for i in range(100)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names, "coarse_label_names": []}))
    return pictures


def write_voc(root: Path, trainval: int = 14, test: int = 6) -> dict[str, list[set[str]]]:
    """Lists, annotations and pictures; the ten kinds drawn stand for the first ten of VOC's. Returns kinds by part."""
    folder = root / VOC_FOLDER
    found: dict[str, list[set[str]]] = {}
    for part, count, first in (("trainval", trainval, 1), ("test", test, 5001)):
        numbers = [f"{first + i:06d}" for i in range(count)]
        found[part] = []
        for number in numbers:
            scene = save(folder / "JPEGImages" / f"{number}.jpg", int(number))
            tree = ElementTree.Element("annotation")
            for kind in scene.kinds:
                item = ElementTree.SubElement(tree, "object")
                ElementTree.SubElement(item, "name").text = VOC_KINDS[kind]
                # Parts have names too, which are no labels.
                ElementTree.SubElement(ElementTree.SubElement(item, "part"), "name").text = "head"
            path = folder / "Annotations" / f"{number}.xml"
            path.parent.mkdir(exist_ok=True)
            ElementTree.ElementTree(tree).write(path)
            found[part].append({VOC_KINDS[kind] for kind in scene.kinds})
        path = folder / "ImageSets" / "Main" / f"{part}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(numbers) + "\n")
    return found


def write_ade20k(root: Path, train: int = 6, test: int = 4, size: int = 48) -> dict[str, list[np.ndarray]]:
    """The SceneParsing release, its first eleven labels for a background and ten kinds. Returns labels 1..11 by part.

    The upper rows of a map are 0, which is no class.
    """
    found: dict[str, list[np.ndarray]] = {}
    for part, folder, count in (("train", "training", train), ("val", "validation", test)):
        found[folder] = []
        for number in range(1, count + 1):
            name = f"ADE_{part}_{number:08d}"
            scene = save(root / "images" / folder / f"{name}.jpg", number + 1000 * (part == "val"), size)
            labels = labels_of(scene) + 1
            labels[:3] = 0
            path = root / "annotations" / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(labels).save(path)
            found[folder].append(labels)
    return found


def write_voc_segmentation(root: Path, train: int = 6, val: int = 4, size: int = 48) -> dict[str, list[np.ndarray]]:
    """Lists, pictures, and labels with a palette, 255 in the upper rows. Returns the labels by list."""
    folder, found = root / VOC_2012, dict[str, list[np.ndarray]]()
    for part, count, first in (("train", train, 1), ("val", val, 501)):
        names, found[part] = [f"2007_{first + n:06d}" for n in range(count)], []
        for number, name in enumerate(names, start=first):
            labels = labels_of(save(folder / "JPEGImages" / f"{name}.jpg", number, size))
            labels[:3] = 255
            image = Image.fromarray(labels)
            image.putpalette([value for place in range(256) for value in (place, 255 - place, 7 * place % 256)])
            path = folder / "SegmentationClass" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
            assert Image.open(path).mode == "P"
            found[part].append(labels)
        path = folder / "ImageSets" / "Segmentation" / f"{part}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(names) + "\n")
    return found


def write_shards(root: Path, part: str, count: int, per_shard: int, suffix: str = "cls") -> dict[str, int]:
    """WebDataset shards of `count` pictures, named as timm's are; returns the class of each key."""
    root.mkdir(exist_ok=True)
    targets = {}
    for start in range(0, count, per_shard):
        with tarfile.open(root / f"imagenet1k-{part}-{start // per_shard:04d}.tar", "w") as tar:
            for i in range(start, min(count, start + per_shard)):
                key, target = f"n01440764_{i}", 37 * i % 1000
                picture = io.BytesIO()
                Image.fromarray(draw(i, 32).image).save(picture, "JPEG")
                described = {"cls": str(target), "json": json.dumps({"label": target, "filename": key})}[suffix]
                for name, content in ((f"{key}.{suffix}", described.encode()), (f"{key}.jpg", picture.getvalue())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
                targets[key] = target
    return targets


def write_flat_imagenet(root: Path, wnids: Sequence[str], labels: str = "devkit") -> list[str]:
    """val/ without class folders, one photograph for each of `wnids`, and the devkit or Kaggle's list beside it.

    The devkit numbers the classes in an order of its own, and lists inner nodes of the hierarchy as well.
    """
    for n in range(1, len(wnids) + 1):
        save(root / "val" / f"ILSVRC2012_val_{n:08d}.JPEG", n)
    if labels == "kaggle":
        lines = [f"ILSVRC2012_val_{n:08d},{wnid} 85 1 499 272 " for n, wnid in reversed(list(enumerate(wnids, 1)))]
        (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *lines]) + "\n")
        return [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, len(wnids) + 1)]
    folder = root / "ILSVRC2012_devkit_t12" / "data"
    folder.mkdir(parents=True)
    numbered = [*sorted(set(wnids), reverse=True), "n00001740"]
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    synsets = np.array([(i, wnid, "word", int(i == len(numbered))) for i, wnid in enumerate(numbered, 1)], dtype=kind)
    savemat(folder / "meta.mat", {"synsets": synsets[:, None]})
    truth = "\n".join(str(numbered.index(wnid) + 1) for wnid in wnids)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(truth + "\n")
    return [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, len(wnids) + 1)]

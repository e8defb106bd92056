"""NABirds: 48,562 photographs of 555 visual categories of North American birds (Van Horn et al., CVPR 2015)."""

from functools import cached_property
from pathlib import Path

import torch

from datamodules.base import PictureData
from datamodules.io.files import read_text, whole_number
from datamodules.io.layout import Layout
from datamodules.io.targets import Part

LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "hierarchy.txt")


class NABirds(PictureData):
    """The 555 classes that pictures are labelled with, in ascending order of their class ids.

    After `released` or `num_classes` has been read: class_ids [555], `classes` their names, `hierarchy` from the
    id of every one of the 1,011 nodes to its parent's id, `names` from id to name.
    """

    same_everywhere = True
    layout = Layout(
        name="NABirds",
        needs=(*LISTS, "images/"),
        source="https://dl.allaboutbirds.org/nabirds (free after a form)",
        tree="""
nabirds/
  images.txt                picture id, path below images/
  image_class_labels.txt    picture id, class id
  train_test_split.txt      picture id, 1 = train, 0 = test
  classes.txt               class id, name
  hierarchy.txt             class id, id of its parent
  images/0817/*.jpg ...
""",
    )
    published = {"classes": 555, "train": 23_929, "test": 24_633}

    def read(self, root: Path) -> dict[str, Part]:
        """The five lists as they are distributed."""
        paths, classes, splits = (_pairs(root / name) for name in LISTS[:3])
        for name, pairs in ((LISTS[1], classes), (LISTS[2], splits)):
            if pairs.keys() != paths.keys():
                odd = sorted(pairs.keys() ^ paths.keys())
                raise ValueError(f"{root / name} and images.txt differ in {len(odd)} picture ids, such as {odd[0]}")
        numbers = _numbers(root / LISTS[1], classes)
        names, parents = (_pairs(root / name) for name in LISTS[3:])
        self.names = {whole_number(key, f"{root / LISTS[3]}, class {key!r}"): name for key, name in names.items()}
        self.hierarchy = {
            whole_number(key, f"{root / LISTS[4]}, class {key!r}"): parent
            for key, parent in _numbers(root / LISTS[4], parents).items()
        }
        self.class_ids = sorted(set(numbers.values()))
        if strange := [key for key in self.class_ids if key not in self.names]:
            raise ValueError(
                f"{root / 'classes.txt'} lacks {len(strange)} classes of the pictures, such as {strange[0]}"
            )
        self.classes = [self.names[key] for key in self.class_ids]
        position = {key: i for i, key in enumerate(self.class_ids)}
        if odd := [key for key, flag in splits.items() if flag not in ("0", "1")]:
            raise ValueError(f"{root / LISTS[2]}: {odd[0]} has {splits[odd[0]]!r}, neither 1 (train) nor 0 (test)")
        parts: dict[str, Part] = {}
        for part, flag in (("train", "1"), ("test", "0")):
            chosen = [key for key, value in splits.items() if value == flag]
            targets = torch.tensor([position[numbers[key]] for key in chosen])
            files = [self.path(root / "images", paths[key], f"{root / LISTS[0]}, {key}") for key in chosen]
            parts[part] = files, targets
        return parts

    @cached_property
    def ancestors(self) -> list[list[int]]:
        """For each class its chain of parent ids, nearest first, up to the root of the hierarchy."""
        _ = self.released
        chains = []
        for key in self.class_ids:
            chain: list[int] = []
            while key in self.hierarchy and self.hierarchy[key] not in chain:
                key = self.hierarchy[key]
                chain.append(key)
            chains.append(chain)
        return chains


def _pairs(path: Path) -> dict[str, str]:
    """Lines of "key rest of the line"; ValueError names a line that has no such form, or a key again."""
    pairs = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        key, _, rest = line.partition(" ")
        if not rest.strip():
            raise ValueError(f"{path}, line {number}: expected an id, a space and a value, found {line[:80]!r}")
        if key in pairs:
            raise ValueError(f"{path}, line {number}: the id {key} is there twice")
        pairs[key] = rest.strip()
    return pairs


def _numbers(path: Path, pairs: dict[str, str]) -> dict[str, int]:
    """The values as whole numbers; ValueError names the file and the key of one that is none."""
    return {key: whole_number(value, f"{path}, {key}") for key, value in pairs.items()}

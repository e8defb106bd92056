"""Any folder of class folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from datamodules.base import PictureData
from datamodules.io.layout import Layout, RootError
from datamodules.io.listing import is_junk
from datamodules.io.targets import Part, hold_out

TEST_SHARE = 0.1  # of class folders that are not split
PARTS = ("train", "training", "val", "valid", "validation", "test")  # not taken for classes, however they are written


class Folder(PictureData):
    """One folder a class, named as the class; classes in alphabetical order, as torchvision's ImageFolder.

    Parts are train/, val/ and test/ below the root. With only one of the last two it is what numbers are reported
    for, as with ImageNet, and the pictures to select by come out of train/. Class folders directly below the root
    are split: a tenth of each class, the same in every run, is the test part.
    """

    layout = Layout(
        name="The data set of class folders",
        needs=(),
        source="your own pictures: .jpg, .png and whatever else Pillow reads",
        tree="""
PATH/train/CLASS/*.jpg
PATH/val/CLASS/*.jpg      or test/, or both
or, to be split:
PATH/CLASS/*.jpg
""",
    )

    def read(self, root: Path) -> dict[str, Part]:
        """List the pictures."""
        folders = {part: root / part for part in ("train", "val", "test") if (root / part).is_dir()}
        if "train" not in folders:
            names = sorted(path.name for path in root.iterdir() if path.is_dir() and not is_junk(path.name))
            if half := [name for name in names if name.lower() in PARTS]:
                raise self.layout.missing(f"train/ in {root}, which has {', '.join(half)}: parts, not classes")
            self.classes, (paths, targets) = class_folders(self, {"all": root})["all"]
            self._check_classes(root)
            test, train = hold_out(targets, TEST_SHARE)
            return {
                part: ([paths[i] for i in chosen.tolist()], targets[chosen])
                for part, chosen in (("train", train), ("test", test))
            }
        if "test" not in folders:
            if "val" not in folders:
                raise self.layout.missing(f"val/ or test/ beside train/ in {root}")
            folders["test"] = folders.pop("val")
        listed = class_folders(self, folders)
        first = next(iter(listed))
        self.classes = listed[first][0]
        for part, folder in folders.items():
            if part in listed and (odd := set(listed[part][0]) ^ set(self.classes)):
                raise ValueError(
                    f"{folder} and {folders[first]} differ in {len(odd)} class folders, such as {min(odd)}"
                )
        self._check_classes(folders[first])
        return {part: pictures for part, (_, pictures) in listed.items()}

    def _check_classes(self, folder: Path) -> None:
        if len(self.classes) < 2:
            one = self.classes[0]
            raise self.layout.missing(f"a second class: the only class folder in {folder} is {one}", RootError)


def class_folders(data: PictureData, folders: Mapping[str, Path]) -> dict[str, tuple[list[str], Part]]:
    """Class names and pictures of each part that has some.

    Args:
        data: whose `listing` counts what is left out. Without pictures to train on its `untrainable` says so:
            an evaluation can do without.
        folders: each part's folder.

    Raises:
        LayoutError: a part other than "train" has no class folders, or an empty one.
    """
    found = {}
    for part, classes in data.listing.classes(folders).items():
        empty = [name for name, paths in classes.items() if not paths]
        if classes and not empty:
            found[part] = list(classes), _part(list(classes.values()))
            continue
        what = f"Couldn't find any class folder in {folders[part]}"
        if empty:
            what = f"{len(empty)} of {len(classes)} class folders in {folders[part]} have none, such as {empty[0]}"
        error = data.layout.missing(f"pictures: {what}")
        if part != "train":
            raise error
        data.untrainable = error
    return found


def _part(classes: Sequence[Sequence[str]]) -> Part:
    counts = torch.tensor([len(paths) for paths in classes])
    return [path for paths in classes for path in paths], torch.arange(len(classes)).repeat_interleave(counts)

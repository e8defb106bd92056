"""Any folder of class folders."""

from pathlib import Path

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes, make_dataset

from datamodules.base import Part, PictureData, hold_out
from datamodules.layout import Layout

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
        source="your own pictures: .jpg, .png and whatever else torchvision's ImageFolder reads",
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
            if half := sorted(path.name for path in root.iterdir() if path.is_dir() and path.name.lower() in PARTS):
                raise self.layout.missing(f"train/ in {root}, which has {', '.join(half)}: parts, not classes")
            self.classes, (paths, targets) = class_folders(root, self.layout)
            test, train = hold_out(targets, TEST_SHARE)
            return {
                part: ([paths[i] for i in chosen.tolist()], targets[chosen])
                for part, chosen in (("train", train), ("test", test))
            }
        if "test" not in folders:
            if "val" not in folders:
                raise self.layout.missing(f"val/ or test/ beside train/ in {root}")
            folders["test"] = folders.pop("val")
        listed = {part: class_folders(folder, self.layout) for part, folder in folders.items()}
        self.classes = listed["train"][0]
        for part, folder in folders.items():
            if odd := set(listed[part][0]) ^ set(self.classes):
                raise ValueError(
                    f"{folder} and {folders['train']} differ in {len(odd)} class folders, such as {min(odd)}"
                )
        return {part: pictures for part, (_, pictures) in listed.items()}


def class_folders(folder: Path, layout: Layout) -> tuple[list[str], Part]:
    """Class names and pictures below a folder. LayoutError without class folders, or if one has no pictures."""
    try:
        classes, index = find_classes(str(folder))
        samples = make_dataset(str(folder), index, IMG_EXTENSIONS)
    except FileNotFoundError as error:
        raise layout.missing(f"pictures: {error}") from error
    paths, targets = zip(*samples, strict=True)
    return classes, (list(paths), torch.tensor(targets))

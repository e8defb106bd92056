"""Data sets that anybody can download: torchvision fetches them, with `datamodule.download=true`."""

from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import torch
from PIL import Image
from torchvision import datasets

from datamodules.base import PictureData
from datamodules.folder import class_folders
from datamodules.io.files import read_list, read_text
from datamodules.io.layout import Layout
from datamodules.io.matlab import read_mat
from datamodules.io.targets import Part, multi_hot

HOW = "datamodule.download=true"
MAX_XML = 1 << 20  # bytes of an annotation
VOC_FOLDER = "VOCdevkit/VOC2007"
VOC_KINDS = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


class Downloaded(PictureData):
    """What these data sets share.

    Args:
        *args: as of `PictureData`.
        download: have torchvision fetch one that is not there yet.
        **kwargs: as of `PictureData`.
    """

    same_everywhere = True
    num_labels: int  # known before anything is downloaded

    def __init__(self, *args: Any, download: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.download = download

    @property
    def num_classes(self) -> int:
        """Classes or labels."""
        return self.num_labels

    def check_training(self) -> None:
        """Nothing before it has been fetched: what there is to train on is known only then."""
        if not self.download:
            super().check_training()

    def prepare_data(self) -> None:
        """Fetch what is missing, if asked to; Lightning has one process of each machine do this."""
        if not self.download or self.root is None:
            return
        root = Path(self.root).expanduser()
        try:
            self.layout.check(root)
        except FileNotFoundError:
            root.mkdir(parents=True, exist_ok=True)
            try:
                self.fetch(root)
            except (OSError, RuntimeError) as error:  # torchvision raises the latter for a file that arrived damaged
                raise ConnectionError(
                    f"{self.layout.name} is not in {root} and cannot be downloaded to it ({error}); "
                    f"it is at {self.layout.source.removesuffix(f', or {HOW}')}"
                ) from error

    def fetch(self, root: Path) -> None:
        """Download to the folder `root`."""
        raise NotImplementedError


class Imagenette(Downloaded):
    """Ten easy classes of ImageNet; numbers are reported for its validation part.

    Args:
        *args: as of `PictureData`.
        resolution: "full", "320px" or "160px", the shorter side of the pictures.
        **kwargs: as of `Downloaded`.
    """

    num_labels = 10
    published = {"classes": 10, "train": 9_469, "test": 3_925}

    def __init__(self, *args: Any, resolution: Literal["full", "320px", "160px"] = "320px", **kwargs: Any):
        super().__init__(*args, **kwargs)
        folders = {"full": "imagenette2", "320px": "imagenette2-320", "160px": "imagenette2-160"}
        if resolution not in folders:
            raise ValueError(f"datamodule.resolution={resolution}: there are {', '.join(folders)}")
        self.resolution, self.folder = resolution, folders[resolution]
        self.layout = Layout(
            name="Imagenette",
            needs=(f"{self.folder}/train/", f"{self.folder}/val/"),
            source=f"https://github.com/fastai/imagenette, or {HOW}",
            tree=f"imagenette/\n  {self.folder}/train/n01440764/*.JPEG\n  {self.folder}/val/n01440764/*.JPEG",
        )

    def fetch(self, root: Path) -> None:
        """Both parts come in one archive."""
        datasets.Imagenette(root, size=self.resolution, download=True)

    def read(self, root: Path) -> dict[str, Part]:
        """Class folders named by WordNet ids."""
        folders = {part: root / self.folder / name for part, name in (("train", "train"), ("test", "val"))}
        listed = class_folders(self, folders)
        self.classes = next(iter(listed.values()))[0]
        return {part: pictures for part, (_, pictures) in listed.items()}


class CIFAR100(Downloaded):
    """50,000 and 10,000 pictures of 32 x 32 pixels in 100 classes (Krizhevsky, 2009)."""

    num_labels = 100
    published = {"classes": 100, "train": 50_000, "test": 10_000}
    reader = None  # no files of pictures
    read_image = staticmethod(Image.fromarray)
    layout = Layout(
        name="CIFAR-100",
        needs=("cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta"),
        source=f"https://www.cs.toronto.edu/~kriz/cifar.html (python version), or {HOW}",
        tree="cifar100/cifar-100-python/{train,test,meta}",
    )

    def fetch(self, root: Path) -> None:
        """Both parts come in one archive."""
        datasets.CIFAR100(root, download=True)

    def read(self, root: Path) -> dict[str, Part]:
        """The pictures themselves, uint8 [n, 32, 32, 3]; torchvision checks the files against their MD5 sums."""
        try:
            parts = {part: datasets.CIFAR100(root, train=part == "train") for part in ("train", "test")}
        except RuntimeError as error:
            folder = root / "cifar-100-python"
            raise ValueError(f"{folder} is damaged, by its MD5 sums: without it, {HOW} fetches it anew") from error
        self.classes = parts["train"].classes
        return {part: (list(data.data), torch.tensor(data.targets)) for part, data in parts.items()}


class Flowers102(Downloaded):
    """102 kinds of flowers, 1,020 + 1,020 + 6,149 pictures; has its own validation part (Nilsback, 2008)."""

    num_labels = 102
    published = {"classes": 102, "train": 1_020, "val": 1_020, "test": 6_149}
    layout = Layout(
        name="Flowers102",
        needs=("flowers-102/imagelabels.mat", "flowers-102/setid.mat", "flowers-102/jpg/"),
        source=f"https://www.robots.ox.ac.uk/~vgg/data/flowers/102, or {HOW}",
        tree="flowers102/flowers-102/\n  imagelabels.mat\n  setid.mat\n  jpg/image_00001.jpg ...",
    )

    def fetch(self, root: Path) -> None:
        """All parts come in one archive."""
        datasets.Flowers102(root, download=True)

    def read(self, root: Path) -> dict[str, Part]:
        """Labels of all pictures, and which of them are in which part; both count from 1."""
        folder = root / "flowers-102"
        labels = torch.from_numpy(read_mat(folder / "imagelabels.mat")["labels"].astype("int64")) - 1
        sets = read_mat(folder / "setid.mat")
        self.classes = [f"flower {i + 1}" for i in range(self.num_labels)]  # the files have no names
        parts: dict[str, Part] = {}
        for part, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid")):
            numbers = sets[key].astype("int64")
            if len(strange := numbers[(numbers < 1) | (numbers > len(labels))]):
                raise ValueError(f"{folder / 'setid.mat'}: {key} has picture {strange[0]} of {len(labels):,}")
            paths = [str(folder / "jpg" / f"image_{number:05d}.jpg") for number in numbers]
            parts[part] = (paths, labels[torch.from_numpy(numbers) - 1])
        return parts


class VOCMultiLabel(Downloaded):
    """Pascal VOC 2007: which of 20 kinds of object are in a picture, `difficult` ones included (Everingham, 2010)."""

    num_labels = 20
    multilabel = True
    published = {"classes": 20, "train": 5_011, "test": 4_952}
    classes = VOC_KINDS
    sets = {"train": "trainval", "test": "test"}
    layout = Layout(
        name="Pascal VOC 2007",
        needs=(
            f"{VOC_FOLDER}/ImageSets/Main/trainval.txt",
            f"{VOC_FOLDER}/ImageSets/Main/test.txt",
            f"{VOC_FOLDER}/Annotations/",
            f"{VOC_FOLDER}/JPEGImages/",
        ),
        source=f"http://host.robots.ox.ac.uk/pascal/VOC/voc2007 (trainval and test), or {HOW}",
        tree=f"""
voc/{VOC_FOLDER}/
  ImageSets/Main/trainval.txt, test.txt
  Annotations/000001.xml ...
  JPEGImages/000001.jpg ...
""",
    )

    def fetch(self, root: Path) -> None:
        """The two parts are two archives that unpack to the same folder."""
        for name in self.sets.values():
            datasets.VOCDetection(root, year="2007", image_set=name, download=True)

    def read(self, root: Path) -> dict[str, Part]:
        """The objects of each picture; kinds in alphabetical order."""
        folder = root / VOC_FOLDER
        position = {name: i for i, name in enumerate(VOC_KINDS)}
        parts: dict[str, Part] = {}
        for part, name in self.sets.items():
            where = folder / "ImageSets/Main" / f"{name}.txt"
            numbers = read_text(where).split()
            paths = [self.path(folder / "JPEGImages", f"{number}.jpg", str(where)) for number in numbers]
            kinds = [_objects(self.path(folder / "Annotations", f"{number}.xml", str(where))) for number in numbers]
            if strange := [(n, kind) for n, row in zip(numbers, kinds, strict=True) for kind in row - position.keys()]:
                number, kind = strange[0]
                raise ValueError(f"{folder / 'Annotations' / number}.xml: {kind!r} is none of the kinds of VOC 2007")
            targets = multi_hot([[position[kind] for kind in row] for row in kinds], len(position))
            parts[part] = (paths, targets)
        return parts


def _objects(path: str) -> set[str]:
    """Names of the objects that a VOC annotation lists (not of their parts). ValueError for one that is no XML."""
    content = read_list(path, MAX_XML)
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # with which texts can be made to multiply
        raise ValueError(f"{path}: a document type, which annotations of VOC do not have")
    try:
        tree = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: {error}") from error
    return {element.findtext("name", "") for element in tree.iterfind("object")}

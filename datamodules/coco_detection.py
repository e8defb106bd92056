"""COCO as a detection data set: objects with boxes and masks (Lin et al., arXiv 1405.0312)."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from datamodules.base import PictureData
from datamodules.coco import layout_of
from datamodules.io.annotated import check_annotation, check_image, is_trained_on, objects_of
from datamodules.io.grouped import GroupedSampler
from datamodules.io.instances import load_instances
from datamodules.io.loaders import train_loader
from datamodules.io.padded import pad_batch
from datamodules.io.pictures import CorruptImage, Pictures
from datamodules.io.ranges import HeldOut
from datamodules.io.targets import Part, multi_hot
from datamodules.multi_scale import Transform

log = logging.getLogger(__name__)

MIN_SIDE = 32  # pixels: smaller images are not trained on
PUBLISHED = {
    2014: {"classes": 80, "train": 82_081, "test": 40_504},
    2017: {"classes": 80, "train": 117_266, "test": 5_000},
}


class DetectionPictures(Pictures):
    """Images with what is to be detected in them: a normalised float32 [3, height, width], and a dictionary.

    In training that has `boxes`, `labels` and `masks` (see `datamodules.io.annotated.objects_of`); always `image_id`,
    and the height and width of the file's image as `orig_size`.

    Args:
        *args: as of `Pictures`, with a transform of images and targets.
        images: what the annotation file says of each image: `id`, `height`, `width`.
        annotations: of each image.
        categories: all of them, as the annotation file lists them, in the order of their ids.
        **kwargs: as of `Pictures`.
    """

    def __init__(
        self,
        *args: Any,
        images: Sequence[Mapping[str, Any]],
        annotations: Sequence[Sequence[Mapping[str, Any]]],
        categories: Sequence[Mapping[str, Any]],
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.images, self.annotations, self.categories = images, annotations, categories
        self.label_of = {category["id"]: label for label, category in enumerate(categories, start=1)}

    def ground_truth(self) -> dict[str, Any]:
        """All of it in COCO's format, crowds too, as pycocotools takes it; annotations are numbered from 1."""
        found = (annotation for of_image in self.annotations for annotation in of_image)
        return {
            "images": [dict(image) for image in self.images],
            "annotations": [{"iscrowd": 0, **annotation, "id": n} for n, annotation in enumerate(found, start=1)],
            "categories": [dict(category) for category in self.categories],
        }

    def wide(self) -> Tensor:
        """Which images are wider than high, int64 [n]: what batches are grouped by."""
        return torch.tensor([int(image["width"] > image["height"]) for image in self.images])

    def _readable(self, index: int) -> tuple[Tensor, Any] | None:
        for i in range(index, index + (len(self) if self.refill else 1)):
            picture = self._read(i % len(self))
            if picture is not None:
                return self._sample(i % len(self), picture)
        return None

    def _sample(self, index: int, picture: Image.Image) -> tuple[Tensor, dict[str, Any]]:
        size = int(self.images[index]["height"]), int(self.images[index]["width"])
        if (picture.height, picture.width) != size:
            raise CorruptImage(
                f"{self.name(index)} is an image of {picture.width} x {picture.height} pixels, and its annotations are "
                f"for {size[1]} x {size[0]}"
            )
        target: dict[str, Tensor] = {}
        if self.refill:
            objects = [a for a in self.annotations[index] if is_trained_on(a, size)]
            target = objects_of(objects, self.label_of, size)
        image = tv_tensors.Image(F.pil_to_tensor(picture))
        image, target = self.transform(image, target)  # type: ignore[call-arg]  # one of two inputs
        plain = {name: value.as_subclass(Tensor) for name, value in target.items()}
        about = {"image_id": self.images[index]["id"], "orig_size": torch.tensor(size)}
        return image.as_subclass(Tensor), plain | about


class COCODetection(PictureData):
    """Boxes and masks of objects; a label is a category's place, from 1, in the order of the ids.

    To train on are images with annotations, none of whose sides is below 32 pixels; of their annotations, those that
    are no crowd and have an area and a box of a pixel or more. Evaluations are on all images, with all annotations.
    Batches hold images of one orientation, and are filled up with zeros to multiples of 32 pixels.

    Args:
        *args: as of `PictureData`; `transforms` as of datamodules.multi_scale.
        year: 2017, which detectors are compared on, or 2014.
        held_out: the share of the training images that epochs are validated on; None: none, all are trained on and
            epochs are validated on the test part, by which nothing may be selected then.
        **kwargs: as of `PictureData`.
    """

    same_everywhere = True
    detection = True
    eval_collate = pad_batch

    def __init__(self, *args: Any, year: Literal[2014, 2017] = 2017, held_out: HeldOut | None = None, **kwargs: Any):
        kwargs["held_out"] = 0.1 if held_out is None else held_out
        super().__init__(*args, **kwargs)
        if year not in PUBLISHED:
            raise ValueError(f"datamodule.year={year}: there are {', '.join(map(str, PUBLISHED))}")
        self.year, self.validates = year, held_out is not None
        self.published, self.layout = PUBLISHED[year], layout_of(year)
        self.dropped: dict[str, int] = {}
        self.images: dict[str, Mapping[str, Any]] = {}  # by path
        self.annotations: dict[str, list[Mapping[str, Any]]] = {}
        self.categories: list[Mapping[str, Any]] = []

    def read(self, root: Path) -> dict[str, Part]:
        """Both lists of instances."""
        parts: dict[str, Part] = {}
        categories = {}
        for part, folder in (("train", f"train{self.year}"), ("test", f"val{self.year}")):
            path = root / "annotations" / f"instances_{folder}.json"
            lists = load_instances(path)
            categories[part] = [lists.cats[key] for key in sorted(lists.cats)]
            position = {category["id"]: i for i, category in enumerate(categories[part])}
            kept, labels = [], []
            for key, image in lists.imgs.items():
                size = check_image(image, f"{path}, image {key}")
                annotations = lists.imgToAnns.get(key, [])
                for annotation in annotations:
                    check_annotation(annotation, size, f"{path}, annotation {annotation.get('id')}")
                if part == "train" and (not annotations or min(size) < MIN_SIDE):
                    continue
                kept.append(self.path(root / folder, image["file_name"], f"{path}, image {key}"))
                if kept[-1] in self.images:
                    raise ValueError(f"{path}: images {self.images[kept[-1]]['id']} and {key} are one file, {kept[-1]}")
                labels.append(sorted({position[a["category_id"]] for a in annotations}))
                self.images[kept[-1]], self.annotations[kept[-1]] = image, annotations
            if part == "train":
                self.dropped[part] = len(lists.imgs) - len(kept)
                log.info("COCO %s: %d images without annotations or too small left out", folder, self.dropped[part])
            parts[part] = (kept, multi_hot(labels, len(position)))
        named = [[(category["id"], category["name"]) for category in of_part] for of_part in categories.values()]
        if named[0] != named[1]:
            raise ValueError(f"the two lists of COCO {self.year} in {root} have different categories")
        self.categories = categories["train"]
        self.classes = [category["name"] for category in self.categories]
        return parts

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The parts as used, see `held_out`."""
        if self.validates:
            return super().parts
        return self.released | {"val": self.released["test"]}

    def pictures(self, part: str, train: bool = False) -> DetectionPictures:
        """A part as a data set, with the transform of training or of evaluation. LayoutError if it is not there."""
        if part not in self.parts:
            self.check_training()
        entries, targets = self.parts[part]
        pictures = DetectionPictures(
            entries,
            targets,
            (self.transforms.train if train else self.transforms.eval)(self.data_config),
            self.reading(),
            self.on_corrupt,
            train,
            next((opened for opened in self.opened if opened.entries is entries), None),
            images=[self.images[path] for path in entries],
            annotations=[self.annotations[path] for path in entries],
            categories=self.categories,
        )
        self.opened.append(pictures)
        return pictures

    def eval_transform(self) -> Transform:
        """What an evaluation does to an image ``[3, height, width]`` uint8 and its target."""
        return self.transforms.eval(self.data_config)  # type: ignore[return-value]  # those of detection take targets

    def known_categories(self) -> list[Mapping[str, Any]] | None:
        """What the labels stand for, where no file has to be read to know; here None."""
        return None

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled training batches, each of images of one orientation. LayoutError without images to train on."""
        self.check_training()
        pictures = self.pictures("train", True)
        sampler_of = partial(GroupedSampler, pictures.wide(), self.batch_size)
        return train_loader(self, pictures, self.batch_size, self.num_workers, self.seed, pad_batch, sampler_of)

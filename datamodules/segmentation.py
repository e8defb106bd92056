"""What data sets with a label for each pixel share."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from datamodules.base import PictureData
from datamodules.io.labels import IGNORED, LabelledReader, LabelMap, table_of
from datamodules.io.padded import pad_batch
from datamodules.io.pictures import Pictures
from datamodules.io.ranges import HeldOut
from datamodules.io.targets import Part

Pair = tuple[str, str]  # the path of a picture, and that of its labels


class LabelledPictures(Pictures):
    """Pictures with a map of labels: a normalised float32 [3, height, width], and uint8 labels.

    To train on, labels are a tensor as large as the picture; in evaluations a dictionary with `labels` as large as the
    file's picture, on which scores are computed. 255 is ignored.

    Args:
        *args: as of `Pictures`, with a transform of pictures and labels, and a `LabelledReader`.
        **kwargs: as of `Pictures`.
    """

    def _readable(self, index: int) -> tuple[Tensor, Any] | None:
        for i in range(index, index + (len(self) if self.refill else 1)):
            found: Any = self._read(i % len(self))
            if found is not None:
                return self._sample(*found)
        return None

    def _sample(self, picture: Image.Image, stored: LabelMap) -> tuple[Tensor, Any]:
        image, labels = tv_tensors.Image(F.pil_to_tensor(picture)), tv_tensors.Mask(torch.from_numpy(stored))
        image, labels = self.transform(image, labels)  # type: ignore[call-arg]  # a transform of both
        plain = labels.as_subclass(Tensor)
        return image.as_subclass(Tensor), plain if self.refill else {"labels": plain}


class SegmentationData(PictureData):
    """A data set with a label for each pixel: a subclass lists pictures and files of labels (`pairs`).

    Scores are computed at the size of the files' pictures. `classes`, `first` and `ignored` say what the numbers in the
    files mean.

    Args:
        *args: as of `PictureData`; `transforms` as of datamodules.crops.
        held_out: the share of the training pictures that epochs are validated on; None: none, all are trained on and
            epochs are validated on the test part, by which nothing may be selected then.
        **kwargs: as of `PictureData`.
    """

    segmentation = True
    eval_collate = pad_batch
    first = 0  # the number of the first class in the files
    ignored: Sequence[int] = (IGNORED,)  # numbers of pixels that do not count

    def __init__(self, *args: Any, held_out: HeldOut | None = None, **kwargs: Any):
        kwargs["held_out"] = 0.1 if held_out is None else held_out
        super().__init__(*args, **kwargs)
        self.validates = held_out is not None
        self.label_files: dict[str, str] = {}  # by the path of the picture

    def pairs(self, root: Path) -> dict[str, list[Pair]]:
        """The pictures and their labels, of the parts "train" and "test", below a root that has been checked."""
        raise NotImplementedError

    def read(self, root: Path) -> dict[str, Part]:
        """All pairs; pictures as a whole have no class."""
        parts: dict[str, Part] = {}
        for part, pairs in self.pairs(root).items():
            self.label_files |= dict(pairs)
            parts[part] = [picture for picture, _ in pairs], torch.zeros(len(pairs), 0, dtype=torch.uint8)
        return parts

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The parts as used, see `held_out`."""
        if self.validates:
            return super().parts
        return self.released | {"val": self.released["test"]}

    def examining(self) -> LabelledReader:
        """What turns an entry into its picture and labels."""
        reader: Any = self.reading()
        return LabelledReader(reader, self.label_files, table_of(len(self.classes), self.first, self.ignored))

    def pictures(self, part: str, train: bool = False) -> LabelledPictures:
        """A part as a data set, with the transform of training or of evaluation. LayoutError if it is not there."""
        if part not in self.parts:
            self.check_training()
        entries, targets = self.parts[part]
        reader: Any = self.examining()
        pictures = LabelledPictures(
            entries,
            targets,
            (self.transforms.train if train else self.transforms.eval)(self.data_config),
            reader,
            self.on_corrupt,
            train,
            next((opened for opened in self.opened if opened.entries is entries), None),
        )
        self.opened.append(pictures)
        return pictures

"""What the data sets made of lists of pictures share: splits, transforms, loaders."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch.utils.data import DataLoader

from datamodules.augment import Transforms
from datamodules.io.evaluated import EvaluatedParts
from datamodules.io.files import join, printable
from datamodules.io.layout import Layout, LayoutError
from datamodules.io.listing import LOOPS, Listing
from datamodules.io.loaders import train_loader
from datamodules.io.naming import name_of
from datamodules.io.pictures import READER, OnCorrupt, Pictures, Reader, colour, open_file
from datamodules.io.ranges import Count, HeldOut, Seed, Workers
from datamodules.io.targets import Part, hold_out

log = logging.getLogger(__name__)


class PictureData(EvaluatedParts):
    """A data set of pictures: a subclass says what lies where (`layout`) and reads the lists (`read`).

    It sets `open_entry` where its entries are no paths, and `untrainable` where it has nothing to train on.

    Args:
        root: its folder.
        transforms: see datamodules.augment.
        batch_size: pictures to train on, per device.
        eval_batch_size: likewise in evaluations.
        num_workers: processes that read; see `train_loader`.
        seed: order of the training pictures.
        on_corrupt: "fail" or "skip", see `Pictures`.
        selection: what the best epoch is chosen on, "validation": pictures held out of the training part, which are
            then not trained on, or the data set's own; "test_as_released": the test part itself, as the authors' code
            does.
        held_out: the share held out, where the data set has no validation part of its own.
        repeats: repeated augmentation, see `train_loader`.
        repeats_alone: likewise.
        exif: None or true: pictures are turned as their EXIF orientation says; false: as torchvision leaves them.
        background: what transparent pictures are laid over, a colour's name, "#rrggbb" or three of 0..255; None =
            white.
        follow_links: None or true: links met while folders are listed are followed; false: refused.
    """

    layout: Layout  # of the class, or of an instance where a setting decides
    reader: ClassVar[int | None] = READER  # which way of reading pictures the numbers are from; None: reads none
    published: Mapping[str, int] = {}  # counts as the data set's authors or users state them
    same_everywhere: ClassVar[bool] = False  # a released data set: results count its root by name, not by its files
    multilabel: ClassVar[bool] = False
    open_entry: Callable[[Any], BinaryIO] = staticmethod(open_file)  # from an entry to the file that holds its picture
    read_image: Callable[[Any], Image.Image] | None = None  # in place of opening and reading files
    classes: Sequence[str]  # names in the order of the targets; set by `read`

    def __init__(
        self,
        root: str | PathLike[str] | None,
        transforms: Transforms,
        batch_size: Count,
        eval_batch_size: Count,
        num_workers: Workers | None,
        seed: Seed,
        on_corrupt: OnCorrupt = "fail",
        selection: Literal["validation", "test_as_released"] = "validation",
        held_out: HeldOut = 0.1,
        repeats: Count | None = None,
        repeats_alone: bool | None = None,
        exif: bool | None = None,
        background: str | Sequence[int] | None = None,
        follow_links: bool | None = None,
    ):
        super().__init__()
        if selection not in ("validation", "test_as_released"):
            raise ValueError(f"datamodule.selection={selection} is neither 'validation' nor 'test_as_released'")
        if isinstance(held_out, bool) or not isinstance(held_out, int | float) or not 0 < held_out < 1:
            raise ValueError(f"datamodule.held_out={held_out} is not between 0 and 1")
        if on_corrupt not in ("fail", "skip"):
            raise ValueError(f"datamodule.on_corrupt={on_corrupt} is neither 'fail' nor 'skip'")
        for name, value in (("exif", exif), ("follow_links", follow_links)):
            if value not in (None, True, False):
                raise ValueError(f"datamodule.{name}={value} is neither true nor false (nor null)")
        self.root, self.transforms = root, transforms
        self.batch_size, self.eval_batch_size, self.num_workers = batch_size, eval_batch_size, num_workers
        self.seed, self.on_corrupt, self.selection, self.held_out = seed, on_corrupt, selection, held_out
        self.repeats, self.repeats_alone = repeats, repeats_alone
        self.exif, self.background = exif is None or exif, colour(background)
        self.listing = Listing(follow_links is None or follow_links)
        self.untrainable: LayoutError | None = None
        self.data_config: Mapping[str, Any] = {
            "input_size": (3, 224, 224),
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
        }
        self.opened: list[Pictures] = []

    def read(self, root: Path) -> dict[str, Part]:
        """Read the lists below `root`, whose layout has been checked, and set `classes`.

        Returns the parts "train" and "test", and "val" where the data set has a validation part of its own.
        """
        raise NotImplementedError

    @cached_property
    def released(self) -> dict[str, Part]:
        """The parts as released. LayoutError where files are missing, ValueError where they say what cannot be."""
        root = self.find_root()
        try:
            parts = self.read(root)
            self.check_targets(parts)
        except (
            *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError),
            *(TypeError, RuntimeError, SyntaxError),
        ) as error:
            said = printable(f"{type(error).__name__}: {error}")
            raise ValueError(f"{self.layout.name} in {root}: a list is damaged or incomplete ({said})") from error
        except ValueError as error:
            raise ValueError(printable(str(error))) from error
        for name, (entries, _) in parts.items():
            missing = None
            if not len(entries):
                missing = f"{name} pictures in {root}"
            elif isinstance(entries[0], str) and not Path(entries[0]).is_file():
                missing = f"{entries[0]}, the first of {len(entries)} listed {name} pictures"
            if missing and name != "train":
                raise self.layout.missing(missing)
            if missing:
                self.untrainable = self.layout.missing(missing)
        if self.listing.looped:
            log.warning(
                "%s: %d links to folders that are listed already left out, such as %s",
                *(self.layout.name, self.listing.left_out[LOOPS], self.listing.looped),
            )
        return {name: part for name, part in parts.items() if len(part[0])}

    def find_root(self) -> Path:
        """The folder of the data set. LayoutError where what the layout needs is not in it."""
        return self.layout.check(self.root)

    def path(self, folder: Path, name: str | None, where: str) -> str:
        """The path of a picture that a list names, see datamodules.io.files.join."""
        return join(folder, name, where, self.listing.follow_links)

    def reading(self) -> Callable[[Any], Image.Image]:
        """What turns an entry into its picture."""
        return self.read_image or Reader(self.open_entry, self.exif, self.background)

    def examining(self) -> Callable[[Any], Any]:
        """What reads an entry with all that belongs to it, to see whether it is whole."""
        return self.reading()

    def check_targets(self, parts: Mapping[str, Part]) -> None:
        """ValueError names the first picture whose class is none of `num_classes`."""
        count: int = getattr(self, "num_labels", len(self.classes))
        for name, (entries, targets) in parts.items():
            strange = ((targets < 0) | (targets >= count)).nonzero() if targets.ndim == 1 else targets[:0]
            if len(strange):
                first = int(strange[0])
                raise ValueError(
                    f"{self.layout.name}: {len(strange)} {name} pictures have a class that is none of 0..{count - 1}, "
                    f"such as {name_of(entries, first)} with {int(targets[first])}"
                )

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The parts as used: "train", "val" to select by, "test" for final numbers."""
        parts = dict(self.released)
        if self.selection == "test_as_released":
            # Choosing the best epoch on the numbers that are reported flatters them; the authors' code does it.
            log.warning("%s: selecting on the test part, as released", self.layout.name)
            parts["val"] = parts["test"]
        elif "val" not in parts and "train" in parts:
            entries, targets = parts["train"]
            held, rest = hold_out(targets, self.held_out)
            parts["train"], parts["val"] = (
                ([entries[i] for i in chosen.tolist()], targets[chosen]) for chosen in (rest, held)
            )
        return parts

    @property
    def num_classes(self) -> int:
        """Classes or labels."""
        _ = self.released
        return len(self.classes)

    @property
    def corrupt(self) -> list[str]:
        """Pictures that could not be read so far, of all parts."""
        return sorted({name for pictures in self.opened for name in pictures.corrupt})

    def adapt(self, data_config: Mapping[str, Any]) -> None:
        """Take image size, mean and std from timm's data config of the backbone."""
        self.data_config = data_config

    def check_training(self) -> None:
        """LayoutError without pictures to train on, which an evaluation can do without."""
        if self.untrainable is None and "train" not in self.released:
            self.untrainable = self.layout.missing(
                f"train/ in {self.root}, which evaluating can do without but not training"
            )
        if self.untrainable is not None:
            raise self.untrainable

    def pictures(self, part: str, train: bool = False) -> Pictures:
        """A part as a data set, with the transform of training or of evaluation. LayoutError if it is not there."""
        if part not in self.parts:
            self.check_training()  # the pictures to select by come out of those to train on
        entries, targets = self.parts[part]
        transform = (self.transforms.train if train else self.transforms.eval)(self.data_config)
        known = next((opened for opened in self.opened if opened.entries is entries), None)
        pictures = Pictures(entries, targets, transform, self.reading(), self.on_corrupt, train, known, self.root, part)
        self.opened.append(pictures)
        return pictures

    def evaluated(self, part: str) -> Pictures:
        """A part, unaugmented. LayoutError if it is not there."""
        if part == "train":
            self.check_training()
        return self.pictures(part)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled training batches. LayoutError without pictures to train on."""
        self.check_training()
        return train_loader(self, self.pictures("train", True), self.batch_size, self.num_workers, self.seed)

    def teardown(self, stage: str) -> None:
        """Say what could not be read."""
        if corrupt := self.corrupt:
            log.warning(
                "%s: unreadable pictures skipped: %d (%s%s)",
                self.layout.name,
                len(corrupt),
                printable(", ".join(corrupt[:5])),
                ", ..." if len(corrupt) > 5 else "",
            )

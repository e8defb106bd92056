"""Pictures with their targets, how they are read, and what happens when one cannot be."""

import errno
import logging
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import torch
from PIL import Image, ImageColor, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.io.decode import WHITE, decode
from datamodules.io.files import check_regular, printable
from datamodules.io.naming import name_of, path_below

log = logging.getLogger(__name__)

# Counts the ways in which pictures have been read, for records: 1 cut 16 bits off, left EXIF orientation alone and
# turned transparent pixels into whatever colour they had; 2 is datamodules.io.decode.
READER = 2

MAX_BYTES = 1 << 30  # of a file: room for MAX_PIXELS of 12 bytes

OnCorrupt = Literal["fail", "skip"]

# What Pillow raises on broken or absent files: not MemoryError, and nothing that a transform raises.
UNREADABLE = (
    *(OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, BufferError),
    *(SyntaxError, EOFError, RuntimeError, struct.error, zlib.error, Image.DecompressionBombError),
)
_OF_THE_MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # says nothing about the picture


class CorruptImage(ValueError):
    """A picture that cannot be read.

    Args:
        message: with its path.
    """

    def __init__(self, message: str):
        # A loader raises its workers' errors again with the whole traceback for a message: its last line will do.
        super().__init__(printable(message.rpartition(f"{type(self).__qualname__}: ")[2].strip()))


def read_rgb(path: str | os.PathLike[str], exif: bool = True, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """Read the picture in a file, as every data set reads its own.

    Args:
        path: a regular file; a FIFO or a device is not opened.
        exif: turn the picture as its EXIF orientation says.
        background: red, green and blue, 0..255, of what transparent pictures are laid over.

    Returns:
        The picture, of mode RGB: integers of more than 8 bits as v / 257, floats in [0, 1] times 255, the first frame
        of an animation.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read; the message names it and says why.
    """
    try:
        return Reader(exif=exif, background=background)(path)
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        check_machine(error)
        raise ValueError(printable(f"{os.fspath(path)} is not an image that can be read: {why(error)}")) from error


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a picture's file. ValueError for one that is no regular file, or far too long."""
    check_regular(path, MAX_BYTES)
    return open(path, "rb")


@dataclass(frozen=True)
class Reader:
    """From an entry of a data set to its picture, as RGB.

    Attributes:
        open: from an entry to a seekable file that holds the picture and nothing else; by default entries are paths.
        exif, background: see read_rgb.
    """

    open: Callable[[Any], BinaryIO] = open_file
    exif: bool = True
    background: tuple[int, int, int] = WHITE

    def __call__(self, entry: Any) -> Image.Image:
        """The picture of an entry, of mode RGB; one of UNREADABLE where it cannot be read."""
        return self.examine(entry)[0]

    def examine(self, entry: Any) -> tuple[Image.Image, frozenset[str]]:
        """The picture, and which of datamodules.io.decode.KINDS it was before."""
        with self.open(entry) as file:
            return decode(file, self.exif, self.background)


def colour(setting: Any) -> tuple[int, int, int]:
    """The background that a setting names: None is white. ValueError for what is no colour."""
    if setting is None:
        return WHITE
    try:
        found = ImageColor.getrgb(setting) if isinstance(setting, str) else tuple(setting)
        if len(found) == 3 and all(type(value) is int and 0 <= value <= 255 for value in found):
            return found[0], found[1], found[2]
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"datamodule.background={setting} is no colour such as white, '#808080' or [128,128,128] (three of 0..255)"
    )


def why(error: BaseException) -> str:
    """What was wrong with a picture, in few words."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture"  # Pillow's words for this one only repeat the path
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"


def check_machine(error: BaseException) -> None:
    """Raise again an error that is none of the picture's: too many open files, no memory."""
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        raise error


class Pictures(Dataset[tuple[Tensor, Any]]):
    """Pictures and targets: an int for class indices [n], float32 [K] for multi-hot rows [n, K].

    `corrupt` lists the pictures that could not be read, whichever worker process met them.

    Args:
        entries: one per picture.
        targets: ``[n]`` int64, or ``[n, K]``.
        transform: from a PIL image to a tensor.
        read: from an entry to a PIL image; by default entries are paths.
        on_corrupt: "fail" raises CorruptImage at the first picture that cannot be read; "skip" goes on without it.
        refill: in place of a skipped one comes the next readable one (training: batches keep their size); else nothing
            (evaluation: no picture counts twice).
        known: another data set of the same entries, with which the findings are shared.
        root: the folder that names of pictures are relative to; None: they are as messages have them.
        part: which part of a data set it is, for the names of pictures that have no path.
    """

    def __init__(
        self,
        entries: Sequence[Any],
        targets: Tensor,
        transform: Callable[[Image.Image], Tensor],
        read: Callable[[Any], Image.Image] = Reader(),
        on_corrupt: OnCorrupt = "fail",
        refill: bool = False,
        known: "Pictures | None" = None,
        root: str | os.PathLike[str] | None = None,
        part: str | None = None,
    ):
        if on_corrupt not in ("fail", "skip"):
            raise ValueError(f"datamodule.on_corrupt={on_corrupt} is neither 'fail' nor 'skip'")
        if len(entries) != len(targets):
            raise ValueError(f"{len(entries)} pictures but {len(targets)} targets")
        self.entries, self.targets = entries, targets
        self.transform, self.read = transform, read
        self.on_corrupt, self.refill = on_corrupt, refill
        self.root, self.part = root, part
        # In shared memory, so that what a loader's workers find is known to the main process.
        self._corrupt: Tensor
        if known is None:
            self._corrupt = torch.zeros(len(entries), dtype=torch.bool).share_memory_()
        else:
            self._corrupt = known._corrupt

    def __len__(self) -> int:
        """Pictures, readable or not."""
        return len(self.entries)

    @property
    def corrupt(self) -> list[str]:
        """The pictures that could not be read so far."""
        return [self.name(i) for i in self._corrupt.nonzero().flatten().tolist()]

    def name(self, index: int) -> str:
        """How a message calls a picture."""
        return name_of(self.entries, index)

    def image_name(self, index: int) -> str:
        """What a picture is called wherever the data set lies: its path below the root, or its part and number."""
        return path_below(self.entries, index, self.root, self.part)

    def is_readable(self, index: int) -> bool:
        """Whether a picture, once it was asked for, was not skipped as one that cannot be read."""
        return not bool(self._corrupt[index])

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        """A picture, transformed, and its target. CorruptImage if it, and those after it, cannot be read."""
        picture = self._readable(index)
        if picture is None:
            raise CorruptImage(f"cannot read {self.name(index)}")
        return picture

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, Any]]:
        """One batch for a DataLoader, which takes whole batches from a data set that has this method."""
        pictures = [picture for picture in map(self._readable, indices) if picture is not None]
        if not pictures:
            raise CorruptImage(
                f"cannot read any of the {len(indices)} pictures of a batch, the first is {self.name(indices[0])}; "
                "a whole batch cannot be skipped: repair or unlist them, or use a larger datamodule.eval_batch_size"
            )
        return pictures

    def _readable(self, index: int) -> tuple[Tensor, Any] | None:
        """The picture, or the next that can be read if they are refilled, or None."""
        for i in range(index, index + (len(self) if self.refill else 1)):
            image = self._read(i % len(self))
            if image is not None:
                target = self.targets[i % len(self)]
                return self.transform(image), target.float() if target.ndim else int(target)
        return None

    def _read(self, index: int) -> Image.Image | None:
        if self._corrupt[index]:
            return None
        try:
            return self.read(self.entries[index])
        except UNREADABLE as error:
            check_machine(error)
            reason = f"cannot read {self.name(index)} ({why(error)})"
            if self.on_corrupt == "fail":
                raise CorruptImage(f"{reason}; datamodule.on_corrupt=skip goes on without it") from error
        self._corrupt[index] = True
        log.warning("%s; skipped, %d so far", printable(reason), int(self._corrupt.sum()))
        return None

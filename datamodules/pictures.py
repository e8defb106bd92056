"""Pictures with their targets, and what happens when one cannot be read."""

import logging
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

log = logging.getLogger(__name__)

OnCorrupt = Literal["fail", "skip"]

# What Pillow raises on broken or absent files: not MemoryError, and nothing that a transform raises.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


class CorruptImage(ValueError):
    """A picture that cannot be read; the message has its path."""

    def __init__(self, message: str):
        # A loader raises its workers' errors again with the whole traceback for a message: its last line will do.
        super().__init__(message.rpartition(f"{type(self).__qualname__}: ")[2].strip())


def read_rgb(path: str) -> Image.Image:
    """The picture in a file, decoded, as RGB."""
    with open(path, "rb") as file:
        return Image.open(file).convert("RGB")


def name_of(entries: Sequence[Any], index: int) -> str:
    """How a message calls a picture: its path, its place in a larger file, or its number."""
    match entries[index]:
        case str() as path:
            return path
        case (str() as file, *place):
            return f"{file} {' '.join(map(str, place))}"
    return f"picture {index}"


class Pictures(Dataset[tuple[Tensor, Any]]):
    """Pictures and targets: an int for class indices [n], float32 [K] for multi-hot rows [n, K].

    entries: one per picture, what `read` turns into a PIL image, by default paths.
    on_corrupt: "fail" raises CorruptImage at the first picture that cannot be read; "skip" goes on without it:
    in its place comes the next readable one if `refill` (training: batches keep their size), else nothing
    (evaluation: no picture counts twice). `corrupt` lists them, whichever worker process met them.
    known: another data set of the same entries, with which the findings are shared.
    """

    def __init__(
        self,
        entries: Sequence[Any],
        targets: Tensor,
        transform: Callable[[Image.Image], Tensor],
        read: Callable[[Any], Image.Image] = read_rgb,
        on_corrupt: OnCorrupt = "fail",
        refill: bool = False,
        known: "Pictures | None" = None,
    ):
        if on_corrupt not in ("fail", "skip"):
            raise ValueError(f"datamodule.on_corrupt={on_corrupt} is neither 'fail' nor 'skip'")
        if len(entries) != len(targets):
            raise ValueError(f"{len(entries)} pictures but {len(targets)} targets")
        self.entries, self.targets = entries, targets
        self.transform, self.read = transform, read
        self.on_corrupt, self.refill = on_corrupt, refill
        # In shared memory, so that what a loader's workers find is known to the main process.
        self._corrupt = (
            known._corrupt if known is not None else torch.zeros(len(entries), dtype=torch.bool).share_memory_()
        )

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def corrupt(self) -> list[str]:
        """The pictures that could not be read so far."""
        return [self.name(i) for i in self._corrupt.nonzero().flatten().tolist()]

    def name(self, index: int) -> str:
        """How a message calls a picture."""
        return name_of(self.entries, index)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        picture = self._readable(index)
        if picture is None:
            raise CorruptImage(f"cannot read {self.name(index)}")
        return picture

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, Any]]:
        """One batch for a DataLoader, which asks for whole batches where a data set offers them."""
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
            # Pillow's words for this one only repeat the path.
            why = "not a picture" if isinstance(error, UnidentifiedImageError) else f"{type(error).__name__}: {error}"
            reason = f"cannot read {self.name(index)} ({why})"
            if self.on_corrupt == "fail":
                raise CorruptImage(f"{reason}; datamodule.on_corrupt=skip goes on without it") from error
        self._corrupt[index] = True
        log.warning("%s; skipped, %d so far", reason, int(self._corrupt.sum()))
        return None

"""Maps of labels: an image whose pixels are numbers of classes, for the picture of the same size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.io.decode import check_size, stored_as
from datamodules.io.files import printable
from datamodules.io.pictures import Reader, open_file

IGNORED = 255  # the label of pixels that count neither in a loss nor in a score
_PLAIN = ("L", "P", "P;1", "P;2", "P;4")  # one number a pixel, which Pillow leaves as it is stored

LabelMap = NDArray[np.uint8]  # [height, width]


def read_label_map(path: str) -> LabelMap:
    """Read a PNG file whose pixels are grey levels of 8 bits or places in a palette, as they are stored.

    Args:
        path: the file.

    Returns:
        The numbers, uint8 [height, width].

    Raises:
        ValueError: an image of another kind, or one that is too large; the message names the file.
        Exception: whatever Pillow raises for what is no image, see `datamodules.io.pictures.UNREADABLE`.
    """
    with open_file(path) as file, Image.open(file, formats=("PNG",)) as image:
        check_size(image.size)
        if stored_as(image) not in _PLAIN:
            raise ValueError(
                f"{path} is stored as {stored_as(image)}: a map of labels has one number of 8 bits a pixel, grey (L) "
                f"or with a palette (P)"
            )
        return np.array(image)


def table_of(count: int, first: int = 0, ignored: Sequence[int] = (IGNORED,)) -> NDArray[np.int16]:
    """What becomes of each number that a file may hold.

    Args:
        count: classes.
        first: the number of the first class.
        ignored: numbers of pixels that do not count.

    Returns:
        int16 [256]: a class from 0, IGNORED, or -1 for a number that may not occur.

    Examples:
        >>> table_of(3, first=1, ignored=[0])[:5].tolist()
        [255, 0, 1, 2, -1]
    """
    table = np.full(256, -1, dtype=np.int16)
    table[first : first + count] = np.arange(count)
    table[list(ignored)] = IGNORED
    return table


@dataclass(frozen=True)
class LabelledReader:
    """From an entry of a data set to its picture and the map of labels that belongs to it.

    Attributes:
        reader: of pictures.
        files: the file of labels for each entry.
        table: see `table_of`.
    """

    reader: Reader
    files: Mapping[Any, str]
    table: NDArray[np.int16]

    def __call__(self, entry: Any) -> tuple[Image.Image, LabelMap]:
        """The picture, of mode RGB, and uint8 [height, width]; one of UNREADABLE where either cannot be read."""
        picture = self.reader(entry)
        path = self.files[entry]
        stored = read_label_map(path)
        if stored.shape != (picture.height, picture.width):
            raise ValueError(
                printable(
                    f"{path} has labels for {stored.shape[1]} x {stored.shape[0]} pixels, and the picture has "
                    f"{picture.width} x {picture.height}"
                )
            )
        labels = self.table[stored]
        if (labels < 0).any():
            strange = stored[labels < 0]
            allowed = np.flatnonzero(self.table >= 0)
            last = allowed[allowed < IGNORED].max()
            more = f" and {IGNORED}" if self.table[IGNORED] >= 0 else ""
            raise ValueError(
                printable(f"{path} has the label {strange[0]} in {len(strange):,} pixels: labels are 0..{last}{more}")
            )
        return picture, labels.astype(np.uint8)

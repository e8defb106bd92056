"""Images of one's own: which they are, reading them, and what their pictures and ids are called."""

import logging
from collections.abc import Sequence
from pathlib import Path

from hydra.utils import get_method
from torch import Tensor
from torchvision.transforms.v2 import functional as pixels

log = logging.getLogger(__name__)

READ = "datamodules.io.pictures.read_rgb"  # bound by name, as data sets are
IS_PICTURE, IS_JUNK = "datamodules.io.listing.is_picture", "datamodules.io.listing.is_junk"


def files_of(images: str | Path, *without: str | Path) -> list[Path]:
    """The images that a setting names: a file, or all of a folder and of those below it, sorted.

    Args:
        images: the setting.
        *without: folders that are left out, such as that of earlier predictions.

    Raises:
        ValueError: a folder without an image; one line.
    """
    path = Path(images).expanduser()
    if not path.is_dir():
        return [path]
    is_picture, is_junk = get_method(IS_PICTURE), get_method(IS_JUNK)
    left_out = [Path(folder).resolve() for folder in without]
    found = sorted(
        file
        for file in path.rglob("*")
        if is_picture(file.name)
        and file.is_file()
        and not any(map(is_junk, file.relative_to(path).parts))
        and not any(file.resolve().is_relative_to(folder) for folder in left_out)
    )
    if not found:
        raise ValueError(f"images={images}: the folder holds no image, such as NAME.jpg or NAME.png")
    return found


def read(file: Path, on_corrupt: str) -> Tensor | None:
    """An image ``[3, H, W]`` uint8; None for one that is skipped.

    Args:
        file: of the image.
        on_corrupt: "fail" or "skip".

    Raises:
        ValueError: it cannot be read, with "fail"; one line.
    """
    try:
        return pixels.pil_to_tensor(get_method(READ)(file))
    except (ValueError, OSError) as error:
        if on_corrupt == "skip":
            log.warning("skipped: %s", error)
            return None
        more = "; on_corrupt=skip goes on without it"
        raise ValueError(f"{error}{more}") from error


def picture_files(files: Sequence[Path], directory: Path) -> dict[Path, Path]:
    """Where the picture of each image goes: its own name and folder, and its suffix too where names are shared.

    Args:
        files: the images.
        directory: of the pictures.

    Returns:
        By image, the file of its picture.
    """
    root = files[0].parent
    while not all(file.is_relative_to(root) for file in files):
        root = root.parent
    found: dict[Path, Path] = {}
    taken: dict[Path, int] = {}
    for file in files:
        taken[file.with_suffix("")] = taken.get(file.with_suffix(""), 0) + 1
    for file in files:
        inner = file.relative_to(root)
        name = f"{inner.stem if taken[file.with_suffix('')] == 1 else inner.name}.png"
        found[file] = directory / inner.with_name(name)
    return found


def numbers(files: Sequence[Path]) -> list[int]:
    """The ids of images: the numbers that files are named by, as COCO's are; else 1, 2, 3 and so on.

    Args:
        files: the images.
    """
    named = [int(file.stem) for file in files if file.stem.isascii() and file.stem.isdecimal()]
    return named if len(set(named)) == len(files) else list(range(1, len(files) + 1))

"""Directories of images with a record of how many they are to hold, so that a half-written one is known as such."""

import json
import os
from pathlib import Path
from typing import Any

from atc.files import write_json

RECORD = "images.json"  # in the directory; "images" says how many there are to be
SUFFIXES = frozenset((".bmp", ".jpg", ".jpeg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))  # those of clean-fid
OTHERS = ("contact_sheet",)  # beginnings of names of pictures that are none of the images


def write_record(directory: str | os.PathLike[str], images: int, **about: Any) -> Path:
    """Say, before the first image is written, how many there are to be.

    Args:
        directory: of the images.
        images: how many.
        **about: what else a reader should know, as JSON has it.

    Returns:
        The file.
    """
    return write_json(Path(directory) / RECORD, {"images": images, **about})


def read_record(directory: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What `write_record` wrote; None where there is no such file.

    Raises:
        ValueError: it is none; one line.
    """
    path = Path(directory) / RECORD
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    count = found.get("images") if isinstance(found, dict) else None
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f'{path} does not say how many images there are to be: it must hold {{"images": 2000}}')
    return dict(found)


def images_in(directory: str | os.PathLike[str]) -> list[Path]:
    """The images in a directory and below it, in the order of their paths.

    Hidden files and contact sheets are left out.

    Args:
        directory: where to look.

    Returns:
        The paths, at least one.

    Raises:
        FileNotFoundError: there is no such directory.
        ValueError: it holds no images, or not as many as its record says: whatever writes it has not ended.
    """
    root = Path(directory).expanduser()
    if not root.is_dir():
        what = "is a file, not a directory of images" if root.exists() else "does not exist"
        raise FileNotFoundError(f"the directory {root} {what} (looked from {Path.cwd()})")
    found = sorted(_below(root))
    record = read_record(root)
    if record is not None and len(found) != record["images"]:
        said = f"{root} holds {len(found):,} images, its {RECORD} says {record['images']:,}"
        if len(found) < record["images"]:
            raise ValueError(f"{said}: it is not finished; run the command that makes it again, which adds the rest")
        raise ValueError(f"{said}: others have been added; take them out, or {RECORD}")
    if not found:
        raise ValueError(f"{root} holds no images ({', '.join(sorted(SUFFIXES))})")
    return found


def _below(root: Path) -> list[Path]:
    found = []
    for here, folders, names in os.walk(root, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith((".", *OTHERS)):
                found.append(Path(here, name))
    return found

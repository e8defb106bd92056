"""The setting `classes`: ImageNet's, some of them, or those of a text file."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from atc.values import shown

IMAGENET, COUNT = "imagenet", 1000
LARGEST = 1 << 24  # bytes
_RIGHT = "it must be imagenet, numbers of ImageNet's classes as in [0, 134], or a text file with a name on each line"


def numbers(classes: Any) -> list[int] | None:
    """The numbers of ImageNet's classes that are meant; None for a file.

    Args:
        classes: value of the setting.

    Returns:
        Numbers from 0 to 999.

    Raises:
        ValueError: a number is none of a class, or stands there twice; one line.
    """
    if isinstance(classes, str | PathLike):
        return list(range(COUNT)) if str(classes) == IMAGENET else None
    if isinstance(classes, bool) or not isinstance(classes, Sequence):
        raise ValueError(f"classes={shown(classes)}: {_RIGHT}")
    found = list(classes)
    if not found:
        raise ValueError(f"classes=[] names no class: {_RIGHT}")
    for one in found:
        if isinstance(one, bool) or not isinstance(one, int) or not 0 <= one < COUNT:
            raise ValueError(f"classes: {shown(one)} is no class of ImageNet, which are numbered from 0 to {COUNT - 1}")
        if found.count(one) > 1:
            raise ValueError(f"classes: {one} stands there {found.count(one)} times; each class is named once")
    return found


def read(file: str | PathLike[str]) -> list[str]:
    """The names of a text file, one on each line; blank lines are left out.

    Args:
        file: its path.

    Returns:
        The names.

    Raises:
        ValueError: there is no such file, it is no text in UTF-8, or holds no name; one line.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"classes={shown(str(file))}: there is no such file (looked from {Path.cwd()}); {_RIGHT}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"classes={shown(str(file))} has more than {LARGEST // 2**20} MB; {_RIGHT}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"classes={shown(str(file))} is no text in UTF-8 (byte {error.start}); {_RIGHT}") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f"classes={shown(str(file))} names no class; {_RIGHT}")
    return names

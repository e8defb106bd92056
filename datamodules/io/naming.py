"""What pictures are called: in messages, and wherever the data set lies."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def name_of(entries: Sequence[Any], index: int) -> str:
    """How a message calls a picture: its path, its place in a larger file, or its number."""
    match entries[index]:
        case str() as path:
            return path
        case (str() as file, *place):
            return f"{file} {' '.join(map(str, place))}"
    return f"picture {index}"


def path_below(entries: Sequence[Any], index: int, root: str | os.PathLike[str] | None, part: str | None) -> str:
    """What a picture is called wherever its data set lies.

    Args:
        entries: those of the data set.
        index: which of them.
        root: the folder of the data set; None: paths are as they are.
        part: which part of the data set it is.

    Returns:
        Its path below the root, with "/" between folders, and its place in a larger file; `numbered` without a file.
    """
    match entries[index]:
        case str() as path:
            return _below(path, root)
        case (str() as file, *place):
            return " ".join([_below(file, root), *map(str, place)])
    return numbered(part or "picture", index)


def numbered(part: str, index: int) -> str:
    """What an image without a file is called: its part and its number there, as in test/000012."""
    return f"{part}/{index:06d}"


def _below(path: str, root: str | os.PathLike[str] | None) -> str:
    folder = "" if root is None else os.path.join(Path(root).expanduser(), "")
    return path.removeprefix(folder).replace(os.sep, "/")

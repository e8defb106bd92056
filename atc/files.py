"""Files that are there whole or not at all, and strict JSON."""

import errno
import json
import math
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any


@contextmanager
def whole_file(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a new file that takes the place of `path` when the block ends without an error.

    Until then the content lies beside `path` under a name of its own, so that several processes may write at once; an
    error removes it and leaves `path` as it was. Missing directories are made. A link stays a link: the file that it
    names is replaced. A device or a pipe, such as /dev/null, is written to and stays what it is.

    Args:
        path: the file to write.
        mode: "wb", or "w" for text in UTF-8.

    Yields:
        The open file.

    Raises:
        OSError: the file cannot be written; the error names `path`, also where the disk is full.
    """
    target, encoding = Path(path), None if "b" in mode else "utf-8"
    if target.exists() and not target.is_file():
        with target.open(mode, encoding=encoding) as file:
            yield file
        return
    place = target.resolve()
    # Of the name so much that the longest one is not made too long: it may be four bytes a character.
    partial = place.with_name(f".{place.name[:40]}.{uuid.uuid4().hex[:12]}.partial")
    try:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target.parent)) from None
        with partial.open(mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # a machine that loses power must not leave a renamed, empty file
        partial.replace(place)
    except OSError as error:
        with suppress(OSError):  # also where its directory is none
            partial.unlink()
        if error.filename is None or str(error.filename) == str(partial):  # the caller's own errors keep their names
            raise type(error)(error.errno, error.strerror or str(error), str(target)) from error
        raise
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write a file whole or not at all, see `whole_file`; the path."""
    with whole_file(path, "w" if isinstance(content, str) else "wb") as file:
        file.write(content)
    return Path(path)


def write_json(path: str | os.PathLike[str], data: Any, indent: int | None = 2) -> Path:
    """Write a file of strict JSON whole or not at all, see `json_text` and `whole_file`; the path."""
    return write_whole(path, json_text(data, indent))


def remove_partial(directory: str | os.PathLike[str]) -> None:
    """Remove what processes that were killed while they wrote have left in a directory that no other process writes to.

    Args:
        directory: where `whole_file` wrote; its subdirectories are left alone.
    """
    # Versions up to 0.1.0 had names of their own.
    for pattern in (".*.partial", "last.ckpt.partial", "best.ckpt.partial", "results.*.tmp"):
        for file in Path(directory).glob(pattern):
            with suppress(OSError):
                file.unlink()


def unwritable(path: str | os.PathLike[str]) -> str | None:
    """Why no file can be written there, if so; missing directories are made.

    Args:
        path: the file to write.

    Returns:
        What follows the name of the file in a message, or None.
    """
    if Path(path).is_dir():
        return "is a directory: name the file to write in it"
    there = next(parent for parent in Path(path).absolute().parents if parent.exists())
    if not there.is_dir():
        return f"cannot be written: {there} is a file"
    return None if os.access(there, os.W_OK) else f"cannot be written: {there} takes no files"


def listed(directory: str | os.PathLike[str], pattern: str) -> list[Path]:
    """The files in a directory whose names match a pattern, sorted; none where there is no such directory.

    Args:
        directory: where to look; not below it.
        pattern: as of `Path.glob`, without a slash.

    Raises:
        OSError: the directory may not be read, which `Path.glob` takes for an empty one; the error names it.
    """
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    # Files alone: a pipe named so would be waited for.
    return [path for name in sorted(names) if fnmatchcase(name, pattern) and (path := Path(directory, name)).is_file()]


def same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file: other spellings, links and hard links too, or none that is there yet."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def json_text(data: Any, indent: int | None = 2) -> str:
    """JSON that every reader accepts: a number that is not finite becomes null."""
    return json.dumps(_finite(data), indent=indent, allow_nan=False) + "\n"


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data

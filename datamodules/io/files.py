"""Files that were received: only regular ones are opened, only so much is read, and no list leads out of its folder."""

import os
import re
import stat
from pathlib import Path, PurePath

MAX_LIST = 1 << 30  # bytes of a list or of a file of annotations; the longest of COCO's has less than half of it
_JOINERS = "\u200c\u200d"  # which words of Persian and Indic scripts, and emoji, are made of
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def printable(text: str) -> str:
    r"""Text for a terminal or a log: what is not printable, and bytes that are no UTF-8, as escapes such as \x1b."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in _JOINERS else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    surrogate = 0xDC80 <= ord(char) <= 0xDCFF  # stands for a byte
    return f"\\x{ord(char) - 0xDC00:02x}" if surrogate else ascii(char)[1:-1]


def check_regular(path: str | os.PathLike[str], limit: int) -> None:
    """Look at a file before it is opened: opening a FIFO waits for ever.

    Raises:
        ValueError: it is no regular file, or longer than `limit` bytes; the message does not name it.
        OSError: there is no such file.
    """
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        raise ValueError(f"{_KINDS.get(stat.S_IFMT(state.st_mode), 'something else')}, not a regular file")
    if state.st_size > limit:
        raise ValueError(f"{state.st_size:,} bytes, of which at most {limit:,} are read")


def read_list(path: str | os.PathLike[str], limit: int = MAX_LIST) -> bytes:
    """The bytes of a regular file of at most `limit` bytes. ValueError names any other."""
    try:
        check_regular(path, limit)
    except ValueError as error:
        raise ValueError(f"{path} is {error}" if "regular" in str(error) else f"{path} has {error}") from error
    return Path(path).read_bytes()


def read_text(path: str | os.PathLike[str], limit: int = MAX_LIST) -> str:
    """The text of a list in UTF-8, with or without a byte order mark. ValueError names one that is none."""
    try:
        return read_list(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {error}") from error


def whole_number(value: object, where: str) -> int:
    """The whole number that a list holds at a place. ValueError names the place of anything else.

    Args:
        value: text such as "817", or what JSON holds: 817, 817.0.
        where: the file and the line or key, for the message.
    """
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value, re.ASCII):
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and -1e15 < value < 1e15 and value == int(value):
        return int(value)
    raise ValueError(f"{where}: expected a whole number, found {str(value)[:80]!r}")


def is_hub_link(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a link of the Hugging Face hub's cache, from a snapshot of a repository to its own blobs."""
    place = Path(os.path.abspath(path))
    above = [folder.parent for folder in place.parents if folder.name == "snapshots" and "--" in folder.parent.name]
    return any(Path(os.path.realpath(path)).parent == Path(os.path.realpath(folder / "blobs")) for folder in above)


def join(folder: Path, name: str | None, where: str, follow_links: bool = True) -> str:
    """The path of a file that a list names, which has to lie below the list's folder.

    Args:
        folder: what the list's paths are relative to.
        name: the path as it is listed.
        where: the list and the line or key, for the message.
        follow_links: whether a link below the folder may lead out of it.

    Raises:
        ValueError: the path is absolute, climbs up with "..", or follows a link out where that is refused.
    """
    if not name or "\0" in name:
        raise ValueError(f"{where}: expected a path below {folder}, found {name!r}")
    if PurePath(name).anchor or ".." in re.split(r"[/\\]", name):
        raise ValueError(f"{where}: {name[:200]!r} leads out of {folder}: a listed path is relative and has no '..'")
    path = str(folder / name)
    if not follow_links and not is_hub_link(path):
        real, root = os.path.realpath(path), os.path.realpath(folder)
        if os.path.commonpath([real, root]) != root:
            raise ValueError(
                f"{where}: {name[:200]!r} is a link that leaves {folder}; datamodule.follow_links=false refuses it"
            )
    return path

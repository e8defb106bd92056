"""Files that PyTorch cannot read, told by how they begin and end. Imports no PyTorch."""

import tarfile
import zipfile
from pathlib import Path

_PICKLE = tuple(bytes([0x80, protocol]) for protocol in range(1, 6))  # how it begins, but for the oldest


def reason(path: Path) -> str | None:
    """Why PyTorch cannot read a file, as far as the file's beginning and end say so.

    Args:
        path: the file.

    Returns:
        What follows the name of the file in a message; None where there is nothing to say yet.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    if not start:
        return "is empty"
    if start.startswith(b"PK\x03\x04"):
        return None if zipfile.is_zipfile(path) else "is cut off: its end is missing"
    if start.startswith(_PICKLE) or tarfile.is_tarfile(path):
        return None
    return "is a text file" if _is_text(start) else "is none of PyTorch, neither an archive nor a pickle"


def _is_text(start: bytes) -> bool:
    text = start.decode("utf-8", errors="ignore")  # a character may be cut
    return len(text.encode()) > len(start) - 4 and all(one.isprintable() or one.isspace() for one in text)

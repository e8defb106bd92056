"""Lists in MATLAB's format, whose sizes are checked before they are read."""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from datamodules.io.files import read_list

MAX_BYTES = 1 << 25  # of a file once it is inflated; ImageNet's and Flowers' have far less than one megabyte
_MATRIX, _COMPRESSED = 14, 15  # types of elements
_CELL, _STRUCT, _SPARSE, _NUMBERS = 1, 2, 5, range(4, 16)  # classes of matrices; the others are objects and functions
_DEEPEST = 16


def read_mat(path: Path) -> dict[str, Any]:
    """The variables in a .mat file of MATLAB 5. ValueError names one that is damaged, or larger than such lists are."""
    try:
        content = read_list(path, MAX_BYTES)
        _check(content)
        return loadmat(io.BytesIO(content), squeeze_me=True)
    except FileNotFoundError:
        raise
    except (
        *(OSError, MatReadError, ValueError, TypeError, LookupError, NotImplementedError, ArithmeticError),
        *(struct.error, zlib.error, MemoryError, RecursionError),
    ) as error:
        said = str(error).removeprefix(f"{path} ")
        raise ValueError(f"{path} is damaged, or no .mat file: {said}") from error


def _check(content: bytes) -> None:
    """ValueError for a file that would inflate to more than MAX_BYTES, or declares more values than it holds."""
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise ValueError("its header is not that of MATLAB 5")
    left = MAX_BYTES
    for kind, data in _elements(content[128:], order, padded=False):
        if kind == _COMPRESSED:
            data = zlib.decompressobj().decompress(data, left + 1)
            left -= len(data)
            if left < 0:
                raise ValueError(f"it inflates to more than {MAX_BYTES:,} bytes")
            ((kind, data),) = list(_elements(data, order))[:1] or [(0, b"")]
        if kind == _MATRIX:
            _check_matrix(data, order, 0)


def _check_matrix(data: bytes, order: str, depth: int) -> None:
    if not data:
        return  # how an empty one is written
    if depth > _DEEPEST:
        raise ValueError(f"it is nested more than {_DEEPEST} deep")
    parts = list(_elements(data, order))
    kind = struct.unpack(f"{order}I", parts[0][1][:4])[0] & 0xFF
    sizes = struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])
    if kind not in (_CELL, _STRUCT, *_NUMBERS):
        raise ValueError("it holds an object or a function, not only numbers and text")
    values = math.prod(sizes)
    if kind == _STRUCT:
        (longest,) = struct.unpack(f"{order}i", parts[3][1][:4])
        values *= max(1, len(parts[4][1]) // max(1, longest))
    if min(sizes) < 0 or (kind != _SPARSE and values > len(data)):
        raise ValueError(f"it declares {values:,} values in {len(data):,} bytes")
    for inner, content in parts[3:]:
        if inner == _MATRIX:
            _check_matrix(content, order, depth + 1)


def _elements(data: bytes, order: str, padded: bool = True) -> Iterator[tuple[int, bytes]]:
    """The type and the content of each element; a short one has both in eight bytes."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack(f"{order}II", data[at : at + 8])
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            end = at + 8
        else:
            start = at + 8
            end = start + size + (-size % 8 if padded else 0)
        if size > len(data) - start:
            raise ValueError("it is cut off")
        yield kind, data[start : start + size]
        at = end

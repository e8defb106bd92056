"""How much memory an image needs while it is clustered: what the kernels lay out, added up."""

from __future__ import annotations

from functools import cache

import torch

_METHODS_OF_KEYS = ("single", "complete")  # their cells are 32-bit keys if the distances are float32
_KEYS, _NUMBERS, _WORDS = 3, 12, 16  # of `Space` in space.h


def shared_bytes(tokens: int, method: str, dtype: torch.dtype) -> int:
    """Shared memory of a block: a triangle of cells, two keys and eight 16-bit numbers a token, eight 32-bit words."""
    return cell_bytes(method, dtype) * (tokens * (tokens - 1) // 2 + 2 * tokens) + 2 * 8 * tokens + 4 * 8


def grid_bytes(tokens: int, method: str, dtype: torch.dtype) -> int:
    """Device memory of an image (``space.h``), rounded up so that the next one begins at a multiple of 256."""
    width = cell_bytes(method, dtype)
    cells = _up(width * tokens * tokens, 16)
    keys = _up(width * _KEYS * tokens, 8)
    return _up(cells + keys + 8 + 4 * (_WORDS + _NUMBERS * tokens), 256)


def cell_bytes(method: str, dtype: torch.dtype) -> int:
    """Bytes of a cell, which are also those of a key."""
    return 4 if method in _METHODS_OF_KEYS and dtype == torch.float32 else 8


@cache
def most_tokens(shared_memory: int, method: str, dtype: torch.dtype) -> int:
    """The largest N of which one image fits in so many bytes of shared memory."""
    tokens = 0
    while shared_bytes(tokens + 1, method, dtype) <= shared_memory:
        tokens += 1
    return tokens


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple

"""Integers that sort like floats, with NaN last: the order every backend merges by."""

from __future__ import annotations

import torch
from torch import Tensor

_INT = {torch.float32: torch.int32, torch.float64: torch.int64}
_FLOAT = {integer: floating for floating, integer in _INT.items()}


def key_of(value: Tensor) -> Tensor:
    """Map floats to integers of the same width: ``-inf < ... < -0 = 0 < ... < inf < NaN < largest integer``.

    Args:
        value: any shape, float32 or float64.

    Returns:
        The same shape, int32 or int64.
    """
    # Adding zero turns -0 into 0, which compares equal and must have an equal key.
    bits = torch.where(value.isnan(), torch.nan, value + 0.0).view(_INT[value.dtype])
    return _flip_negatives(bits)


def value_of(key: Tensor) -> Tensor:
    """The inverse of :func:`key_of`."""
    return _flip_negatives(key).view(_FLOAT[key.dtype])


def last_key(key: Tensor) -> int:
    """A key after every value's: that of a pair which does not exist."""
    return torch.iinfo(key.dtype).max


def _flip_negatives(bits: Tensor) -> Tensor:
    # Negative floats have larger bit patterns the smaller they are: invert all but the sign.
    return bits ^ ((bits >> (torch.iinfo(bits.dtype).bits - 1)) & torch.iinfo(bits.dtype).max)

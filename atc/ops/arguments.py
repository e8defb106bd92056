"""Checks of what callers hand to an operation; each failure is one line that names the argument and the value."""

from __future__ import annotations

import math
import operator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

_LARGEST = 2**63 - 1  # an operator's integers have 64 bits


def integer(name: str, value: Any, least: int) -> int:
    """An integer argument as a Python int.

    NumPy numbers and tensors without dimensions are numbers; 4.0 is an integer, 4.5 and True are not.

    Args:
        name: of the argument, for the message.
        value: what the caller gave.
        least: the smallest value allowed.

    Returns:
        The number; what needs more than 64 bits becomes the largest number that does not.

    Raises:
        ValueError: ``value`` is no integer, or less than ``least``.
    """
    if isinstance(value, torch.SymInt):  # of a graph being made, which may be no constant
        return cast(int, value)
    found = _as_int(value)
    if found is None:
        raise ValueError(f"{name} must be an integer, got {described(value)}")
    if found < least:
        raise ValueError(f"{name} must be at least {least}, got {found}")
    return min(found, _LARGEST)


def _as_int(value: Any) -> int | None:
    if type(value) is int:
        return value
    if isinstance(value, (Tensor, np.ndarray)):
        if value.ndim or (isinstance(value, Tensor) and value.is_meta):
            return None
        value = value.item()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    try:
        return operator.index(value)
    except TypeError:
        return None


def number(name: str, value: Any) -> float:
    """A number as a Python float; NumPy numbers are numbers, strings and booleans are not.

    Args:
        name: of the argument, for the message.
        value: what the caller gave; infinity is allowed, NaN is not.

    Raises:
        ValueError: ``value`` is no number, or NaN.
    """
    found = math.nan
    if not isinstance(value, (bool, np.bool_)) and isinstance(value, (int, float, np.number)):
        found = float(value)
    if math.isnan(found):
        raise ValueError(f"{name} must be a number, got {described(value)}")
    return found


def boolean(name: str, value: Any) -> bool:
    """A switch as a Python bool; ``"no"``, 0 and None are none.

    Args:
        name: of the argument, for the message.
        value: what the caller gave.

    Raises:
        ValueError: ``value`` is neither True nor False.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {described(value)}")
    return bool(value)


def is_floating(value: Any, *dimensions: int) -> bool:
    """Whether ``value`` is a dense floating tensor with one of these numbers of dimensions.

    Sparse, nested, quantised and complex tensors, NumPy arrays and lists are not.
    """
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_nested
        and value.is_floating_point()
        and value.ndim in dimensions
    )


def described(value: Any) -> str:
    """A value in a few words: dtype and shape of a tensor, the kind of other containers, anything else as it is."""
    if isinstance(value, Tensor):
        if value.is_nested:
            return f"a nested tensor of {value.dtype}"
        kind = "" if value.layout == torch.strided else f"{str(value.layout).removeprefix('torch.')} "
        return f"{kind}{value.dtype} {list(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"a NumPy array of {value.dtype} {list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else f"a {type(value).__name__}"


def class_described(value: Any) -> str:
    """A class, or the class of an object, in a few words, where a caller has one in place of the other."""
    return (
        f"the class {value.__name__}" if isinstance(value, type) else f"an object of the class {type(value).__name__}"
    )

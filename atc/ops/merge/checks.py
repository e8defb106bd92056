"""What the operators demand of tensors; checked before a kernel gets their addresses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from atc.ops.arguments import described, is_floating


def check_merge(
    x: Any, labels: Any, num_groups: int, weight: Any, size: Any, prefix: int, dimensions: tuple[int, ...] = (3,)
) -> None:
    """Raise ValueError where shapes, dtypes or devices do not belong together; looks at no value."""
    check_stream(x, prefix, dimensions)
    wanted = [x.shape[0], x.shape[1] - prefix]
    _check_integers("labels", labels, wanted)
    if num_groups < 0:
        raise ValueError(f"num_groups must be at least 0, got {num_groups}")
    for name, other in (("weight", weight), ("size", size)):
        if other is not None and (not is_floating(other, 2) or list(other.shape) != wanted):
            raise ValueError(f"{name} must be floating {wanted}, got {described(other)}")
    _check_devices(x, labels=labels, weight=weight, size=size)


def check_select(x: Any, indices: Any, size: Any, prefix: int) -> None:
    """Raise ValueError where shapes, dtypes or devices do not belong together; looks at no value."""
    check_stream(x, prefix, (3,))
    count = indices.shape[1] if isinstance(indices, Tensor) and indices.ndim == 2 else "K"
    _check_integers("indices", indices, [x.shape[0], count])
    wanted = [x.shape[0], x.shape[1] - prefix]
    if size is not None and (not is_floating(size, 2) or list(size.shape) != wanted):
        raise ValueError(f"size must be floating {wanted}, got {described(size)}")
    _check_devices(x, indices=indices, size=size)


def check_stream(x: Any, prefix: int, dimensions: tuple[int, ...]) -> None:
    """Raise ValueError unless ``x`` are tokens of which ``prefix`` can stand aside."""
    if not is_floating(x, *dimensions):
        wanted = "[B, N, C]" if dimensions == (3,) else "[B, N, C] or [B, N]"
        raise ValueError(f"x must be a dense floating tensor {wanted}, got {described(x)}")
    if not 0 <= prefix <= x.shape[1]:
        raise ValueError(f"prefix must lie in [0, {x.shape[1]}], got {prefix}")


def _check_integers(name: str, value: Any, wanted: list[Any]) -> None:
    kind = isinstance(value, Tensor) and value.dtype == torch.int64 and value.layout == torch.strided
    if not kind or list(value.shape) != wanted:
        raise ValueError(f"{name} must be int64 {wanted}, got {described(value)}")


def _check_devices(x: Tensor, **others: Tensor | None) -> None:
    for name, other in others.items():
        if other is not None and other.device != x.device:
            raise ValueError(f"{name} must be on the device of x, {x.device}, got {other.device}")

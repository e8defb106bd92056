"""Cosine distances in true float32: the tolerance of a partition is that of its distances."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from atc.ops.arguments import described, is_floating
from atc.ops.exporting import exporting
from atc.ops.gpu import triton_reads
from atc.ops.scale import unit_vectors, unit_vectors_on_host


def cosine_distance(keys: Tensor) -> Tensor:
    """``1 - <x, y> / (|x| |y|)`` for all pairs of tokens (Eq. 1, arXiv 2409.11923).

    Computed to the accuracy of float32 (float64 for float64 keys) whatever autocast or the matmul precision say: with
    TF32 or float16 products one image in six gets another partition, with bfloat16 three in four. On a GPU one kernel
    reads the keys as they are, and splits each number into two of TF32 where that is faster. A zero vector has
    distance 1 to everything. Not differentiable; one operator under torch.compile. Keys may be of any finite size, from
    subnormal numbers to the largest: each is scaled by a power of two where its square would not be representable.

    Args:
        keys: ``[B, N, D]`` floating.

    Returns:
        ``[B, N, N]`` float32, or float64 for float64 keys.

    Raises:
        ValueError: ``keys`` is not a dense floating tensor of three dimensions.

    Examples:
        >>> cosine_distance(torch.tensor([[[1.0, 0.0], [0.0, 3.0], [-2.0, 0.0]]])).tolist()
        [[[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]]]
    """
    check_keys(keys)
    if exporting():
        with torch.autocast(keys.device.type, enabled=False):
            return distance_of_units(
                unit_vectors(keys.detach() if keys.dtype == torch.float64 else keys.detach().float())
            )
    return _cosine_distance(keys.detach())


@torch.library.custom_op("atc::cosine_distance", mutates_args=())
def _cosine_distance(keys: Tensor) -> Tensor:
    check_keys(keys)
    if has_kernel(keys):
        return by_kernel(keys, None, both=True)
    with full_float32(keys.device.type):
        return distance_of_units(normalised(keys))


@_cosine_distance.register_fake
def _(keys: Tensor) -> Tensor:
    check_keys(keys)
    dtype = torch.float64 if keys.dtype == torch.float64 else torch.float32
    return keys.new_empty((keys.shape[0], keys.shape[1], keys.shape[1]), dtype=dtype)


def has_kernel(keys: Tensor) -> bool:
    """Whether the kernel of `atc.ops.linkage.triton.distance` reads these keys; its results are float32."""
    return triton_reads(keys, dtypes=(torch.float16, torch.bfloat16, torch.float32))


def by_kernel(keys: Tensor, out: Tensor | None, both: bool) -> Tensor:
    """The distances of keys for which `has_kernel` holds, as `atc.ops.linkage.triton.distance.distances`."""
    from atc.ops.linkage.triton.distance import distances

    return distances(keys, out, both=both)


def normalised(keys: Tensor) -> Tensor:
    """Unit vectors, in float32 at least; a zero vector stays zero."""
    wide = keys if keys.dtype == torch.float64 else keys.float()
    return unit_vectors_on_host(wide) if wide.device.type == "cpu" else unit_vectors(wide)


def distance_of_units(unit: Tensor, out: Tensor | None = None) -> Tensor:
    """``1 - x y`` for all pairs of unit vectors ``[B, N, D]``, into ``out`` ``[B, N, N]`` if given."""
    product = torch.bmm(unit, unit.mT, out=out)
    return torch.sub(product.new_ones(()), product, out=product)


def check_keys(keys: Tensor) -> None:
    """Raise ValueError for keys that are no dense floating tensor ``[B, N, D]``."""
    if not is_floating(keys, 3):
        raise ValueError(f"keys must be a dense floating tensor [B, N, D], got {described(keys)}")


@contextmanager
def full_float32(device_type: str) -> Iterator[None]:
    """No autocast, and no TF32 or bfloat16 inside float32 products of this device."""
    backend: Any = (torch.backends.cuda if device_type == "cuda" else torch.backends.mkldnn).matmul
    before, exact = backend.fp32_precision, "ieee"
    autocast = torch.is_autocast_enabled(device_type)
    try:
        if before != exact:
            backend.fp32_precision = exact
        with torch.autocast(device_type, enabled=False) if autocast else nullcontext():
            yield
    finally:
        if before != exact:
            backend.fp32_precision = before

"""Unit vectors, and sizes that can be squared, without under- or overflow.

Numbers are brought near 1 by powers of two. That is exact, and every rounding after it is the one there would have
been without it: where nothing under- or overflows, results keep their bits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from atc.ops.exporting import exporting, inside_transform

_INTEGER = {16: torch.int16, 32: torch.int32, 64: torch.int64}


def power_of_two(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Powers of two, by which ``x`` times them has its largest magnitude along ``dim`` in [1, 4).

    Subnormal numbers come as near to 1 as one factor brings them. What is zero, infinite or NaN stays so under the
    factor, which is finite and not zero. Not differentiable.

    Args:
        x: float16, bfloat16, float32 or float64.
        dim: one dimension or several, none of length 0.

    Returns:
        The shape of ``x`` with length 1 along ``dim``, its dtype.
    """
    kind = torch.finfo(x.dtype)
    largest = x.detach().abs().amax(dim, keepdim=True)  # an infinity norm takes ten times as long on a CPU
    if exporting() or inside_transform(x):  # ONNX cannot read the bits of a number, nor can older transforms
        exponent = largest.nan_to_num(1.0).clamp(kind.tiny, kind.max).log2().floor()
        return torch.exp2(-exponent).clamp_min(kind.tiny)
    one = round(1 / kind.eps)  # the least significant bit of the exponent
    exponents = 2 ** (kind.bits - 1) - one
    bits = (exponents - one) - (largest.view(_INTEGER[kind.bits]) & exponents)
    return bits.view(x.dtype).clamp_min(kind.tiny)


def unit_vectors(x: Tensor) -> Tensor:
    """``x / |x|`` along the last dimension; a zero vector stays zero.

    Args:
        x: ``[..., D]``, float16, bfloat16, float32 or float64, of any finite size.

    Returns:
        ``[..., D]``. A vector that holds infinity or NaN becomes one that holds NaN.
    """
    if x.shape[-1] == 0:
        return x
    return F.normalize(x * power_of_two(x, -1), dim=-1, eps=torch.finfo(x.dtype).tiny)


def unit_vectors_on_host(x: Tensor) -> Tensor:
    """The same to the bit, and faster on a CPU for vectors of ordinary length; it looks at the values.

    Args:
        x: ``[..., D]`` float32 or float64 on a CPU.

    Returns:
        ``[..., D]``.
    """
    norm = x.norm(dim=-1, keepdim=True)
    if norm.numel():
        least, most = norm.aminmax()
        if float(least) > 2.0**-30 and float(most) < 2.0**30:
            return x / norm
    return unit_vectors(x)

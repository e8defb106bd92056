"""Merging tokens on a CPU: a call of the compiled library, which gives the bits that operators of PyTorch give."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from atc.ops.linkage import cpu, ranges

_NAME = "atc_merge"
_BAD_LABEL = 3
_CHEAPER = 10  # times as fast as a cell of a clustering, a number is added


class Merge(ctypes.Structure):
    """The arguments of a call, `AtcMerge` of native/merge.h."""

    _fields_ = [
        ("x", ctypes.c_void_p),
        ("image_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("images", ctypes.c_int64),
        ("prefix", ctypes.c_int64),
        ("tokens", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("is_double", ctypes.c_int32),
        ("average", ctypes.c_int32),
        ("empty_groups", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("eps", ctypes.c_double),
        ("labels", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("size", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("sizes", ctypes.c_void_p),
        ("totals", ctypes.c_void_p),
    ]


def reads(x: Tensor, weight: Tensor | None, size: Tensor | None) -> bool:
    """Whether the library can take these tensors: float32 or float64, all the same, in memory."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or cpu.of_library(_NAME) is None:
        return False
    given = [tensor for tensor in (x, weight, size) if tensor is not None]
    return all(type(tensor) is Tensor and tensor.dtype == x.dtype for tensor in given)


def merge(
    x: Tensor,
    labels: Tensor,
    num_groups: int,
    weight: Tensor | None,
    size: Tensor | None,
    prefix: int,
    average: bool,
    eps: float,
    empty_groups: bool,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """As `atc.ops.merge.operator.merge_operator`; None where a label is out of range."""
    call = cpu.of_library(_NAME)
    assert call is not None
    x = ranges.readable(x)
    labels = labels.contiguous()
    weight, size = (None if given is None else given.resolve_neg().contiguous() for given in (weight, size))
    batch, length, channels = x.shape
    out = x.new_empty(batch, prefix + num_groups, channels)
    sizes = x.new_empty(0) if size is None else x.new_empty(batch, num_groups)
    totals = x.new_empty(batch, num_groups) if average else x.new_empty(0)

    parts = {"x": x, "labels": labels, "weight": weight, "size": size, "out": out}
    parts |= {"sizes": None if size is None else sizes, "totals": totals if average else None}
    from_image = ranges.addresses({name: tensor for name, tensor in parts.items() if tensor is not None})

    def run_range(start: int, stop: int) -> int:
        job = Merge(
            image_stride=x.stride(0),
            row_stride=x.stride(1),
            images=stop - start,
            prefix=prefix,
            tokens=length - prefix,
            channels=channels,
            groups=num_groups,
            is_double=x.dtype == torch.float64,
            average=average,
            empty_groups=empty_groups,
            eps=eps,
            **from_image(start),
        )
        return call(ctypes.byref(job), True)

    status = ranges.split(run_range, batch, x.numel() // _CHEAPER)
    if status == _BAD_LABEL:
        return None
    if status:
        raise RuntimeError("the compiled kernel refused its arguments")
    return out, sizes, totals

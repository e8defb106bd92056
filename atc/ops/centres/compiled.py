"""Clusters around centres on a CPU: calls of the compiled library."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from atc.ops.linkage import cpu, ranges

_NAME = "atc_centres"
_CHEAPER = 4  # times as fast as a cell of a clustering, a distance is looked at
_TASK = {"medoids": 0, "spread": 1, "smallest": 2, "denser": 3}  # as in native/centres.h


class Centres(ctypes.Structure):
    """The arguments of a call, `AtcCentres` of native/centres.h."""

    _fields_ = [
        ("distance", ctypes.c_void_p),
        ("image_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("images", ctypes.c_int64),
        ("tokens", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("rounds", ctypes.c_int64),
        ("is_double", ctypes.c_int32),
        ("task", ctypes.c_int32),
        ("weight", ctypes.c_void_p),
        ("centres", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
    ]


def reads(distance: Tensor, *others: Tensor) -> bool:
    """Whether the library can take these tensors: it looks at their values, which have to be finite."""
    if not (distance.is_cpu and distance.numel() and distance.dtype in (torch.float32, torch.float64)):
        return False
    if not all(type(tensor) is Tensor for tensor in (distance, *others)) or cpu.of_library(_NAME) is None:
        return False
    values = [tensor for tensor in (distance, *others) if tensor.is_floating_point()]
    return all(value.dtype == distance.dtype and bool(value.sum().isfinite()) for value in values)


def find_medoids(distance: Tensor, weight: Tensor, start: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """As `atc.ops.centres.find_medoids`."""
    batch, tokens, _ = distance.shape
    centres = start.clone(memory_format=torch.contiguous_format)
    labels = torch.empty(batch, tokens, dtype=torch.int64)
    _find("medoids", distance, start.shape[1], rounds=rounds, weight=weight, centres=centres, labels=labels)
    return centres, labels


def spread_out(distance: Tensor, first: Tensor, count: int) -> Tensor:
    """As `atc.ops.centres.spread_out`."""
    centres = first.unsqueeze(1).repeat(1, count)
    _find("spread", distance, count, centres=centres)
    return centres


def smallest_distances(distance: Tensor, count: int) -> Tensor:
    """As `atc.ops.centres.smallest_distances`."""
    values = distance.new_empty(*distance.shape[:2], count)
    _find("smallest", distance, count, values=values)
    return values


def nearest_denser(distance: Tensor, density: Tensor) -> Tensor:
    """As `atc.ops.centres.nearest_denser`."""
    values = distance.new_empty(distance.shape[:2])
    _find("denser", distance, 1, weight=density, values=values)
    return values


def _find(task: str, distance: Tensor, count: int, *, rounds: int = 0, **others: Tensor) -> None:
    """Run a task over the batch, in as many threads as PyTorch has; it writes into `centres`, `labels`, `values`."""
    distance = ranges.readable(distance)
    batch, tokens, _ = distance.shape
    given = {name: tensor.resolve_neg().contiguous() for name, tensor in others.items()}
    _check(given, batch, tokens, count)
    call = cpu.of_library(_NAME)
    assert call is not None

    from_image = ranges.addresses({"distance": distance, **given})

    def run_range(start: int, stop: int) -> int:
        scratch = torch.empty(2 * tokens + 1, dtype=torch.int64)
        job = Centres(
            image_stride=distance.stride(0),
            row_stride=distance.stride(1),
            images=stop - start,
            tokens=tokens,
            count=count,
            rounds=rounds,
            is_double=distance.dtype == torch.float64,
            task=_TASK[task],
            scratch=scratch.data_ptr(),
            **from_image(start),
        )
        return call(ctypes.byref(job), True)

    if ranges.split(run_range, batch, batch * tokens * tokens // _CHEAPER):
        raise RuntimeError("the compiled kernel refused its arguments")


def _check(given: dict[str, Tensor], batch: int, tokens: int, count: int) -> None:
    """Refuse what the library would read or write out of bounds; ValueError."""
    if not 1 <= count <= tokens:
        raise ValueError(f"{count} of {tokens} tokens were asked for; take 1 to {tokens}")
    centres, weight = given.get("centres"), given.get("weight")
    if weight is not None and weight.shape != (batch, tokens):
        raise ValueError(f"weights and densities must be [{batch}, {tokens}], got {list(weight.shape)}")
    if centres is None:
        return
    if centres.dtype != torch.int64 or centres.shape != (batch, count):
        raise ValueError(f"centres must be int64 [{batch}, {count}], got {centres.dtype} {list(centres.shape)}")
    least, most = (int(bound) for bound in centres.aminmax())
    if least < 0 or most >= tokens:
        raise ValueError(f"centres must be tokens in [0, {tokens}), got {least} to {most}")

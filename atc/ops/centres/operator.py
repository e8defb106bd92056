"""Clusters around centres on a CPU as operators, of which a traced or compiled program contains the call."""

from __future__ import annotations

import torch
from torch import Tensor

from atc.ops.centres import compiled, plain
from atc.ops.exporting import exporting, inside_transform


def takes(*tensors: Tensor) -> bool:
    """Whether the operators are to be called: on a CPU, unless gradients or a transform need operators of PyTorch."""
    if not all(tensor.is_cpu for tensor in tensors) or exporting() or inside_transform(*tensors):
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))


@torch.library.custom_op("atc::find_medoids", mutates_args=())
def find_medoids(distance: Tensor, weight: Tensor, start: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """As `atc.ops.centres.find_medoids`."""
    if compiled.reads(distance, weight, start):
        return compiled.find_medoids(distance, weight, start, rounds)
    medoids, labels = plain.find_medoids(distance, weight, start, rounds)
    return (medoids.clone() if medoids is start else medoids), labels


@find_medoids.register_fake
def _(distance: Tensor, weight: Tensor, start: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    return start.new_empty(start.shape), start.new_empty(distance.shape[:2])


@torch.library.custom_op("atc::spread_out", mutates_args=())
def spread_out(distance: Tensor, first: Tensor, count: int) -> Tensor:
    """As `atc.ops.centres.spread_out`."""
    return (compiled if compiled.reads(distance, first) else plain).spread_out(distance, first, count)


@spread_out.register_fake
def _(distance: Tensor, first: Tensor, count: int) -> Tensor:
    return first.new_empty(first.shape[0], count)


@torch.library.custom_op("atc::smallest_distances", mutates_args=())
def smallest_distances(distance: Tensor, count: int) -> Tensor:
    """As `atc.ops.centres.smallest_distances`."""
    return (compiled if compiled.reads(distance) else plain).smallest_distances(distance, count)


@smallest_distances.register_fake
def _(distance: Tensor, count: int) -> Tensor:
    return distance.new_empty(*distance.shape[:2], count)


@torch.library.custom_op("atc::nearest_denser", mutates_args=())
def nearest_denser(distance: Tensor, density: Tensor) -> Tensor:
    """As `atc.ops.centres.nearest_denser`."""
    return (compiled if compiled.reads(distance, density) else plain).nearest_denser(distance, density)


@nearest_denser.register_fake
def _(distance: Tensor, density: Tensor) -> Tensor:
    return distance.new_empty(distance.shape[:2])

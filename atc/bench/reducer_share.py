"""How much of a forward goes into reducing tokens."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from atc.vit.reduced import ReducedViT


def reducers_share(model: ReducedViT, images: Tensor, runs: int = 3) -> float:
    """Share, 0 to 1, of an eager forward spent on its reductions; the median over `runs`.

    A reduction lasts from the call of the reducer until the shortened tokens enter the next layer: deciding, and
    merging or gathering. Taken by hooks on the reducer and on that layer's norm: on a GPU from CUDA events in the
    stream of the forward, on a CPU from the wall clock. Keys and attention that the attention hands out on request are
    not in it.
    """
    marks = _Events(images.device) if images.is_cuda else _Clock()
    model(images)
    handles = []
    for number in [str(stage.block) for stage in model.trace]:
        reducer = model.reducers[number]
        block = model.host.blocks[int(number) - 1]
        following = block.norm1 if model.method.site == "before_block" else block.norm2
        handles += [module.register_forward_pre_hook(marks.hook) for module in (reducer, following)]
    try:
        shares = []
        for _ in range(runs):
            marks.reset()
            marks.hook()
            model(images)
            marks.hook()
            whole, parts = marks.seconds()
            shares.append(sum(parts) / whole)
    finally:
        for handle in handles:
            handle.remove()
    return median(shares)


class _Clock:
    """Moments on the wall clock; the first and the last are those of the forward, the rest pairs of a reduction."""

    def __init__(self) -> None:
        self.marks: list[Any] = []

    def reset(self) -> None:
        self.marks = []

    def hook(self, *_: object) -> None:
        self.marks.append(time.perf_counter())

    def seconds(self) -> tuple[float, list[float]]:
        """Seconds of the forward, and of each reduction."""
        return self._pairs(lambda start, end: end - start)

    def _pairs(self, between: Callable[[Any, Any], float]) -> tuple[float, list[float]]:
        first, *inner, last = self.marks
        return between(first, last), [between(a, b) for a, b in zip(inner[::2], inner[1::2], strict=True)]


class _Events(_Clock):
    """The same in a GPU's stream."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def hook(self, *_: object) -> None:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        self.marks.append(event)

    def seconds(self) -> tuple[float, list[float]]:
        torch.cuda.synchronize(self.device)
        return self._pairs(lambda start, end: start.elapsed_time(end) / 1e3)

"""Time taken around the hooks that a reduction puts into the blocks of a diffusion model."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from atc.diffusion.layers import layer_of
from atc.diffusion.networks import Block


class Inside(NamedTuple):
    """Seconds of one image spent inside the blocks that merge.

    Attributes:
        total: of the whole image.
        merging: deciding, merging and spreading out.
        attention: self-attention itself.
    """

    total: float
    merging: float
    attention: float


def watched(
    reduced: Callable[[], Any], image: Callable[[], None], found: list[Block], merged: set[str], device: torch.device
) -> Inside:
    """Make one image with time taken inside blocks.

    Args:
        reduced: makes the context in which the pipeline is reduced.
        image: makes an image.
        found: the blocks of the network.
        merged: names of those that are looked at.
        device: where they compute.

    Returns:
        The seconds.
    """
    stamps = _Stamps(device)
    inner = [block for block in found if block.name in merged]
    # A hook that was registered before another is called before it.
    with _hooked(inner, stamps.begin, stamps.leave), reduced(), _hooked(inner, stamps.enter, stamps.end):
        start = stamps.now()
        image()
        end = stamps.now()
    return Inside(
        stamps.seconds(start, end),
        sum(stamps.seconds(*pair) for pair in stamps.merging),
        sum(stamps.seconds(*pair) for pair in stamps.attention),
    )


class _Stamps:
    """Points in time: of the host, or on a GPU of its stream.

    Before the hooks of a reduction `begin` is called, behind them `enter`; when a layer has computed, `leave` before
    them and `end` behind.
    """

    def __init__(self, device: torch.device):
        self.on_gpu = device.type == "cuda"
        self.latest: Any = None
        self.merging: list[tuple[Any, Any]] = []
        self.attention: list[tuple[Any, Any]] = []

    def begin(self, *_: Any) -> None:
        self.latest = self.now()

    def enter(self, *_: Any) -> None:
        self.merging.append((self.latest, now := self.now()))
        self.latest = now

    def leave(self, *_: Any) -> None:
        self.attention.append((self.latest, now := self.now()))
        self.latest = now

    def end(self, *_: Any) -> None:
        self.merging.append((self.latest, self.now()))

    def now(self) -> Any:
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Any, end: Any) -> float:
        if not self.on_gpu:
            return float(end - start)
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3


@contextmanager
def _hooked(found: list[Block], before: Callable[..., None], after: Callable[..., None]) -> Iterator[None]:
    """Have functions called around the hooks of blocks and of their self-attention."""
    hooks = []
    for block in found:
        hooks.append(block.module.register_forward_pre_hook(before))
        layer = layer_of(block, "attn1")
        assert isinstance(layer, nn.Module)
        hooks.append(layer.register_forward_pre_hook(before))
        hooks.append(layer.register_forward_hook(after))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()

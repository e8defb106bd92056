"""What `reduce` returns: which blocks merge how many tokens, and the way back."""

import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

from torch import nn
from torch.utils.hooks import RemovableHandle

from atc.diffusion.merging import Merging

active: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()  # blocks that are reduced now


class Reduced(NamedTuple):
    """What happens at one site of one block."""

    name: str
    site: str
    tokens_in: int
    tokens_out: int


class Handle:
    """The reduction of a pipeline, as long as it lasts; as a context manager, as long as the block.

    Args:
        blocks: those that are reduced.
        hooks: what was registered.
    """

    def __init__(self, blocks: Sequence[Merging], hooks: Sequence[RemovableHandle]):
        self._blocks, self._hooks = list(blocks), list(hooks)
        active.update(one.block for one in blocks)

    @property
    def blocks(self) -> list[Reduced]:
        """N and K at every site that merges.

        As in the latest call that reduced anything; before the first one, as the default size of the network makes
        them, which is known of UNets and transformers whose configuration has a `sample_size`, and else nothing.
        """
        return [Reduced(one.name, site, *counts) for one in self._blocks for site, counts in sorted(one.counts.items())]

    def remove(self) -> None:
        """Take the hooks out again; a second time does nothing."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        for one in self._blocks:
            active.discard(one.block)
            one.forget()
        self._blocks = []

    def __enter__(self) -> "Handle":
        """The handle."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the reduction."""
        self.remove()


class Watch:
    """Says so where no block of a network merges because all work at too small a size.

    Args:
        blocks: of the network, those that are reduced.
    """

    def __init__(self, blocks: Sequence[Merging]):
        self._blocks = list(blocks)

    def after_network(self, network: nn.Module, args: object, output: object) -> None:
        """Look at what the blocks did.

        Raises:
            ValueError: nothing merged for that reason.
        """
        skipped = [one.skipped for one in self._blocks if one.skipped is not None]
        if skipped and not any(one.counts for one in self._blocks):
            refuse_max_downsample(network, self._blocks[0].max_downsample, min(skipped))


def refuse_max_downsample(network: nn.Module, given: int, least: int) -> None:
    """Name the least `max_downsample` that merges anything.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        f"no block of this {type(network).__name__} merges tokens with max_downsample={given}: "
        f"the least that merges something is {least}"
    )

"""What a forward pass did to its tokens."""

from typing import NamedTuple

import torch
from torch import Tensor


class StageTrace(NamedTuple):
    """One reduction: B images, N tokens in, K out, N0 source patches; prefix tokens are not counted."""

    block: int  # 1-based
    tokens_in: int  # N
    tokens_out: int  # K
    labels: Tensor  # [B, N] int64, output token of each input token; -1 = dropped
    size: Tensor  # [B, K] float, source patches each output token stands for
    source: Tensor  # [B, N0] int64, output token holding each source patch; -1 = dropped

    def __repr__(self) -> str:
        return f"StageTrace(block {self.block}: {self.tokens_in} -> {self.tokens_out} tokens)"


class Trace(tuple[StageTrace, ...]):
    """The stages of the latest forward, in order; empty when nothing was reduced."""

    @property
    def stages(self) -> tuple[StageTrace, ...]:
        return tuple(self)

    def tokens(self) -> list[int]:
        """Patch tokens after each stage."""
        return [stage.tokens_out for stage in self]


def follow(source: Tensor, labels: Tensor) -> Tensor:
    """Compose a source map with one more reduction.

    source [B, N0] int64 (token holding each patch, -1 = dropped), labels [B, N] int64 -> [B, N0] int64.
    """
    return torch.where(source < 0, source, labels.gather(1, source.clamp_min(0)))

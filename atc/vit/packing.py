"""Images with different numbers of tokens, one behind the other, so that little padding is computed.

Linear layers, norms and MLPs work on the rows of all images at once; only attention takes them apart again, into spans
of images with about as many tokens as each other, which are padded to the longest of the span.

Letters: B batch, P prefix tokens, N patch tokens, T = P + N, S rows of all spans, prefix tokens included.
"""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from atc.ops.exporting import may_keep_constants
from atc.vit.attention import Seen, Span
from atc.vit.blocks import attention_half, mlp_half

if TYPE_CHECKING:
    from atc.vit.stream import Stream

# What a span costs, in rows: some ten operators that have to be dispatched.
_PRICE = 3


class Packing(NamedTuple):
    """How a padded batch is packed."""

    rows: Tensor  # [S] int64, of the B * T rows of the batch those of the spans, image by image
    spans: list[Span]
    shape: tuple[int, int]  # B, T
    bias: Tensor  # [1, S] as in `Stream.bias`
    rope: Tensor | None  # [S, 2D] rotary embeddings; None without

    def packed(self, x: Tensor) -> Tensor:
        """``[B, T, ...]`` -> ``[1, S, ...]``."""
        return _packed(x, self.rows)

    def padded(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """``[1, S, ...]`` -> ``[B, T, ...]``, one number where no span reaches."""
        batch, tokens = self.shape
        whole = x.new_full((batch * tokens, *x.shape[2:]), fill)
        return whole.index_copy_(0, self.rows, x.squeeze(0)).unflatten(0, self.shape)


class Packed(NamedTuple):
    """Tokens of a stream, packed."""

    packing: Packing
    x: Tensor  # [1, S, C]


class Held:
    """The tokens of a stream: from block to block they stay packed, and are padded when they are read.

    Attributes:
        held: ``[B, P+N, C]`` tokens, or the same packed.
    """

    held: Tensor | Packed

    @property
    def x(self) -> Tensor:
        """``[B, P+N, C]`` tokens, N falling with every reduction; may be changed or replaced."""
        if isinstance(self.held, Packed):
            self.held = self.held.packing.padded(self.held.x)
        return self.held

    @x.setter
    def x(self, tokens: Tensor) -> None:
        self.held = tokens


def packing_of(stream: "Stream") -> Packing | None:
    """How to pack the batch of a stream, behind a reduction that leaves the tokens which count first.

    Args:
        stream: with its new tokens, and what belongs to them.

    Returns:
        The packing; None where the batch runs as it is: on a GPU, to which a few launches more are dear, while a graph
        is made, and where there is nothing to gain.
    """
    valid, x, prefix = stream.valid, stream.x, stream.prefix
    if valid is None or valid.dtype != torch.bool or x.device.type != "cpu" or x.is_meta or not may_keep_constants(x):
        return None
    lengths, ranked = (valid.sum(dim=1) + prefix).sort(descending=True, stable=True)
    if not len(lengths) or int(lengths[0]) != x.shape[1]:  # slots that nobody fills are for others to cut off
        return None
    bounds = cheapest(lengths.tolist(), _PRICE)
    if len(bounds) == 2:
        return None
    spans = [Span(last - first, int(lengths[first])) for first, last in itertools.pairwise(bounds)]
    reach = torch.cat([lengths[first].expand(last - first) for first, last in itertools.pairwise(bounds)])
    place = torch.arange(x.shape[1])
    rows = (ranked.unsqueeze(1) * x.shape[1] + place)[place < reach.unsqueeze(1)]
    assert stream.bias is not None  # some tokens do not count
    return Packing(rows, spans, (x.shape[0], x.shape[1]), _packed(stream.bias, rows), _packed_rope(stream, rows))


def cheapest(lengths: Sequence[int], price: int) -> list[int]:
    """Where to cut a list of lengths so that padding each span to its longest, and the spans themselves, cost least.

    Args:
        lengths: falling.
        price: of a span.

    Returns:
        The bounds of the spans, from 0 to the number of lengths.

    Examples:
        >>> cheapest([100, 99, 99, 40, 38], price=3)
        [0, 3, 5]
    """
    total = np.zeros(len(lengths) + 1)
    before = np.zeros(len(lengths) + 1, dtype=int)
    longest = np.asarray(lengths)
    for last in range(1, len(lengths) + 1):
        first = np.arange(last)
        costs = total[:last] + (last - first) * longest[:last] + price
        before[last] = int(costs.argmin())
        total[last] = costs[before[last]]
    bounds = [len(lengths)]
    while bounds[-1] > 0:
        bounds.append(int(before[bounds[-1]]))
    return bounds[::-1]


def attended(stream: "Stream", block: Any, needs: frozenset[str], whole: bool) -> tuple[Tensor | Packed, Seen]:
    """The tokens of a stream behind the attention of a block, and what it showed.

    Args:
        stream: before the block.
        block: the block.
        needs: what is to be seen, as for `attention_half`.
        whole: run the second half of the block as well.
    """

    def run(*some: Any) -> tuple[Tensor, Seen]:
        x, seen = stream.run(attention_half, block, *some)
        return (stream.run(mlp_half, block, x) if whole else x), seen

    packing = stream.packing
    if packing is None or needs - {"keys"}:  # what reducers ask for is cut from padded tokens
        return run(stream.x, stream.prefix, stream.bias, stream.rope, needs, stream.policy)
    x, seen = run(packed(stream, packing), 0, packing.bias, packing.rope, needs, None, packing.spans)
    if seen.keys is not None:  # [1, H, S, D]
        seen = Seen(packing.padded(seen.keys.transpose(1, 2), fill=1.0).transpose(1, 2))  # of a length, unlike zeros
    return Packed(packing, x), seen


def second_half(stream: "Stream", block: Any) -> Tensor | Packed:
    """The tokens of a stream behind the MLP of a block."""
    if stream.packing is None:
        found: Tensor = stream.run(mlp_half, block, stream.x)
        return found
    return Packed(stream.packing, stream.run(mlp_half, block, packed(stream, stream.packing)))


def packed(stream: "Stream", packing: Packing) -> Tensor:
    """``[1, S, C]`` the tokens of a stream."""
    held = stream.held
    return held.x if isinstance(held, Packed) and held.packing is packing else packing.packed(stream.x)


def _packed(x: Tensor, rows: Tensor) -> Tensor:
    return x.flatten(0, 1).index_select(0, rows).unsqueeze(0)


def _packed_rope(stream: "Stream", rows: Tensor) -> Tensor | None:
    """``[S, 2D]`` rotary embeddings, sines then cosines, of angle 0 for prefix tokens; None without."""
    if stream.rope is None:
        return None
    batch = stream.x.shape[0]
    sin, cos = stream.rope.expand(batch, 1, stream.num_tokens, -1).squeeze(1).chunk(2, dim=-1)
    no_angle = sin.new_zeros(batch, stream.prefix, sin.shape[-1])
    rope = torch.cat([torch.cat([no_angle, sin], dim=1), torch.cat([no_angle + 1, cos], dim=1)], dim=-1)
    return _packed(rope, rows).squeeze(0)

"""Images with about as many tokens as each other, run through a block together: little padding is computed.

Letters: B batch, P prefix tokens, N patch tokens, T = P + N, b images of a pack, t of their tokens.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from atc.ops.exporting import may_keep_constants
from atc.vit.attention import Seen
from atc.vit.blocks import attention_half, mlp_half

if TYPE_CHECKING:
    from atc.vit.stream import Stream

# What another pack costs, in tokens: some thirty operators that have to be dispatched.
_PRICE = 32


class Pack(NamedTuple):
    """Images that run together."""

    images: Tensor  # [b] int64
    tokens: int  # t, prefix tokens included


class Packed(NamedTuple):
    """Tokens of a stream, apart as its packs are."""

    packs: list[Pack]
    parts: list[Tensor]  # [b, t, C] of each

    def joined(self) -> Tensor:
        """``[B, T, C]``, zeros for padding."""
        return _together(self.packs, self.parts)


class Held:
    """The tokens of a stream: from block to block they stay apart, and are put together when they are read.

    Attributes:
        held: ``[B, P+N, C]`` tokens, or the same in packs.
    """

    held: Tensor | Packed

    @property
    def x(self) -> Tensor:
        """``[B, P+N, C]`` tokens, N falling with every reduction; may be changed or replaced."""
        if isinstance(self.held, Packed):
            self.held = self.held.joined()
        return self.held

    @x.setter
    def x(self, tokens: Tensor) -> None:
        self.held = tokens


def packs_of(valid: Tensor | None, x: Tensor, prefix: int) -> list[Pack] | None:
    """How to take a batch apart so that the least is computed.

    Args:
        valid: ``[B, N]`` as in `Plan.valid`.
        x: ``[B, P+N, C]`` the tokens.
        prefix: P.

    Returns:
        Packs of all images; None where the batch runs as it is: on a GPU, to which a few launches more are dear, while
        a graph is made, and where there is nothing to gain.
    """
    if valid is None or valid.dtype != torch.bool or x.device.type != "cpu" or x.is_meta or not may_keep_constants(x):
        return None
    counts = valid.sum(dim=1)
    ranked = counts.argsort(descending=True, stable=True)
    lengths = (counts[ranked] + prefix).tolist()
    if not lengths or lengths[0] != x.shape[1]:  # slots that nobody fills are for others to cut off
        return None
    bounds = cheapest(lengths)
    if len(bounds) == 2:
        return None
    return [Pack(ranked[first:last], lengths[first]) for first, last in itertools.pairwise(bounds)]


def cheapest(lengths: Sequence[int], price: int = _PRICE) -> list[int]:
    """Where to cut a list of lengths so that padding each part to its longest, and the parts themselves, cost least.

    Args:
        lengths: falling.
        price: of a part.

    Returns:
        The bounds of the parts, from 0 to the number of lengths.

    Examples:
        >>> cheapest([100, 99, 99, 40, 38])
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

    if stream.packs is None:
        return run(stream.x, stream.prefix, stream.bias, stream.rope, needs, stream.policy)
    return in_packs(stream, lambda *some: run(*some, needs))


def second_half(stream: "Stream", block: Any) -> Tensor | Packed:
    """The tokens of a stream behind the MLP of a block."""
    if stream.packs is None:
        found: Tensor = stream.run(mlp_half, block, stream.x)
        return found
    return in_packs(stream, lambda x, *_: (stream.run(mlp_half, block, x), Seen()))[0]


def in_packs(stream: "Stream", run: Callable[..., tuple[Tensor, Seen]]) -> tuple[Tensor | Packed, Seen]:
    """Run a part of a block over each pack of a stream; where gradients are wanted, put the outcome together.

    Args:
        stream: with its packs.
        run: called with ``[b, t, C]`` tokens, P, ``[b, t]`` biases of keys and rotary embeddings of these, or None;
            gives ``[b, t, C]`` and what was seen.

    Returns:
        ``[B, T, C]``, or the same in packs, and what was seen, as of one batch.
    """
    bias, rope, packs, found = stream.bias, stream.rope, stream.packs, []
    assert packs is not None
    if isinstance(stream.held, Packed) and stream.held.packs is packs:
        parts = stream.held.parts
    else:
        parts = [stream.x[images, :tokens] for images, tokens in packs]
    for (images, tokens), part in zip(packs, parts, strict=True):
        every = None if rope is None else rope.expand(sum(len(one.images) for one in packs), 1, -1, -1)
        own = None if every is None else every[images, :, : tokens - stream.prefix]
        found.append(run(part, stream.prefix, None if bias is None else bias[images, :tokens], own))
    made = Packed(packs, [out for out, _ in found])
    fields: Any = zip(*(seen for _, seen in found), strict=True)
    several = (None if one[0] is None else _together(packs, one) for one in fields)
    return made.joined() if torch.is_grad_enabled() else made, Seen(*several)


def _together(packs: Sequence[Pack], parts: Sequence[Tensor]) -> Tensor:
    """``[b, ...]`` of each pack -> ``[B, ...]``, as large as the largest."""
    shape = [max(sides) for sides in zip(*(part.shape[1:] for part in parts), strict=True)]
    whole = parts[0].new_zeros(sum(len(pack.images) for pack in packs), *shape)
    for (images, _), part in zip(packs, parts, strict=True):
        place: tuple[Any, ...] = (images, *(slice(side) for side in part.shape[1:]))
        whole[place] = part
    return whole

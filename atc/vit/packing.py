"""Images with different numbers of tokens, one behind the other, so that no padding is computed.

Linear layers, norms and MLPs work on the rows of all images at once; only attention takes them apart again, into spans of
images with equally many tokens.

Letters: B batch, P prefix tokens, N patch tokens, T = P + N, S tokens of all images, prefix tokens included.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from atc.ops.exporting import may_keep_constants
from atc.vit.attention import Seen, Span
from atc.vit.blocks import attention_half, mlp_half

if TYPE_CHECKING:
    from atc.vit.stream import Stream


class Packing(NamedTuple):
    """How a padded batch is packed."""

    rows: Tensor  # [S] int64, of the B * T rows of the batch those that are no padding, image by image
    spans: list[Span]
    shape: tuple[int, int]  # B, T

    def packed(self, x: Tensor) -> Tensor:
        """``[B, T, ...]`` -> ``[1, S, ...]``."""
        return x.flatten(0, 1).index_select(0, self.rows).unsqueeze(0)

    def padded(self, x: Tensor) -> Tensor:
        """``[1, S, ...]`` -> ``[B, T, ...]``, zeros for padding."""
        batch, tokens = self.shape
        whole = x.new_zeros(batch * tokens, *x.shape[2:])
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


def packing_of(valid: Tensor | None, x: Tensor, prefix: int) -> Packing | None:
    """How to pack a batch.

    Args:
        valid: ``[B, N]`` as in `Plan.valid`, true for the first tokens of each image.
        x: ``[B, P+N, C]`` the tokens.
        prefix: P.

    Returns:
        The packing; None where the batch runs as it is: on a GPU, to which a few launches more are dear, while a graph
        is made, and where all images have equally many tokens.
    """
    if valid is None or valid.dtype != torch.bool or x.device.type != "cpu" or x.is_meta or not may_keep_constants(x):
        return None
    lengths, ranked = (valid.sum(dim=1) + prefix).sort(descending=True, stable=True)
    if not len(lengths) or int(lengths[0]) != x.shape[1]:  # slots that nobody fills are for others to cut off
        return None
    tokens, images = (part.tolist() for part in lengths.unique_consecutive(return_counts=True))
    if len(tokens) == 1:
        return None
    place = torch.arange(x.shape[1])
    rows = (ranked.unsqueeze(1) * x.shape[1] + place)[place < lengths.unsqueeze(1)]
    return Packing(rows, list(map(Span, images, tokens)), (x.shape[0], x.shape[1]))


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
    bias = None if stream.bias is None or not stream.weighs_keys else packing.packed(stream.bias)
    x, seen = run(packed(stream, packing), 0, bias, _packed_rope(stream, packing), needs, None, packing.spans)
    if seen.keys is not None:  # [1, H, S, D]
        seen = Seen(packing.padded(seen.keys.transpose(1, 2)).transpose(1, 2))
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


def _packed_rope(stream: "Stream", packing: Packing) -> Tensor | None:
    """``[S, 2D]`` rotary embeddings, sines then cosines, of angle 0 for prefix tokens; None without."""
    if stream.rope is None:
        return None
    batch, tokens = packing.shape
    sin, cos = stream.rope.expand(batch, 1, tokens - stream.prefix, -1).squeeze(1).chunk(2, dim=-1)
    no_angle = sin.new_zeros(batch, stream.prefix, sin.shape[-1])
    rope = torch.cat([torch.cat([no_angle, sin], dim=1), torch.cat([no_angle + 1, cos], dim=1)], dim=-1)
    return packing.packed(rope).squeeze(0)

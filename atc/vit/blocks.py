"""The two halves of a block, each from the block's own submodules."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from atc.ops.exporting import exporting
from atc.vit.attention import Seen, Span, attend


def attention_half(
    block: Any,
    x: Tensor,
    prefix: int,
    log_size: Tensor | None,
    rope: Tensor | None,
    needs: frozenset[str],
    policy: Tensor | None = None,
    spans: Sequence[Span] | None = None,
) -> tuple[Tensor, Seen]:
    """The first half of a block, x + DropPath(scale(attention(norm1(x)))), and what its attention showed."""
    out, seen = attend(block.attn, block.norm1(x), prefix, log_size, rope, needs, policy, spans)
    if "input" in needs:
        seen = seen._replace(input=x[:, prefix:])
    return x + block.drop_path1(_scaled(block, 1, out)), seen


def mlp_half(block: Any, x: Tensor) -> Tensor:
    """The second half of a block: x + DropPath(scale(mlp(norm2(x))))."""
    return x + block.drop_path2(_scaled(block, 2, block.mlp(block.norm2(x))))


def _scaled(block: Any, half: int, x: Tensor) -> Tensor:
    layer_scale = getattr(block, f"ls{half}", None)  # ViT keeps a module, EVA a parameter or None
    if layer_scale is not None:
        return layer_scale(x)
    gamma = getattr(block, f"gamma_{half}")
    return x if gamma is None else gamma * x


def merge_rope(rope: Tensor, plan: Any, size: Tensor) -> Tensor:
    """Rotary embeddings of the tokens a plan leaves: the circular mean of those it merges.

    Args:
        rope: ``[N, 2D]`` or ``[B, 1, N, 2D]``, sines then cosines.
        plan: the plan.
        size: ``[B, N]`` weights of the tokens in a mean.

    Returns:
        ``[B, 1, K, 2D]``. What a plan selects keeps its rows.
    """
    batch = size.shape[0]
    rows = rope.expand(batch, -1, -1) if rope.dim() == 2 else rope.squeeze(1)
    sin, cos = plan.reduce(rows.contiguous(), size).chunk(2, dim=-1)
    # ONNX has no hypot
    length = (sin.square() + cos.square()).sqrt() if exporting() else torch.hypot(sin, cos)
    length = length.clamp_min(torch.finfo(sin.dtype).eps)
    return torch.cat([sin / length, cos / length], dim=-1).unsqueeze(1)

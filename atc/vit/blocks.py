"""The two halves of a timm block, and its embedding and head, each from the model's own submodules."""

from typing import Any

import torch
from torch import Tensor

from atc.vit.attention import Seen, attend


def embed(vit: Any, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """[B, 3, H, W] -> tokens [B, P+N, C] entering the first block, and rotary embeddings [N, 2D] or None."""
    x = vit._pos_embed(vit.patch_embed(images))
    x, rope = x if isinstance(x, tuple) else (x, None)
    return vit.norm_pre(x), rope


def grid_of(vit: Any, images: Tensor) -> tuple[int, int]:
    """Rows and columns of patches for these images."""
    rows, cols = vit.patch_embed.dynamic_feat_size(tuple(images.shape[-2:]))
    return int(rows), int(cols)


def attention_half(
    block: Any,
    x: Tensor,
    prefix: int,
    log_size: Tensor | None,
    rope: Tensor | None,
    needs: frozenset[str],
) -> tuple[Tensor, Seen]:
    """x + DropPath(scale(attention(norm1(x)))), and what the attention showed."""
    out, seen = attend(block.attn, block.norm1(x), prefix, log_size, rope, needs)
    return x + block.drop_path1(_scaled(block, 1, out)), seen


def mlp_half(block: Any, x: Tensor) -> Tensor:
    """x + DropPath(scale(mlp(norm2(x))))."""
    return x + block.drop_path2(_scaled(block, 2, block.mlp(block.norm2(x))))


def _scaled(block: Any, half: int, x: Tensor) -> Tensor:
    layer_scale = getattr(block, f"ls{half}", None)  # ViT keeps a module, EVA a parameter or None
    if layer_scale is not None:
        return layer_scale(x)
    gamma = getattr(block, f"gamma_{half}")
    return x if gamma is None else gamma * x


def merge_rope(rope: Tensor, plan: Any, size: Tensor) -> Tensor:
    """Rotary embeddings of the tokens a plan leaves: the circular mean of those it merges.

    rope: [N, 2D] or [B, 1, N, 2D], sines then cosines -> [B, 1, K, 2D]. A pruned set keeps its rows.
    """
    batch = plan.labels.shape[0]
    rows = rope.expand(batch, -1, -1) if rope.dim() == 2 else rope.squeeze(1)
    sin, cos = plan.reduce(rows.contiguous(), size).chunk(2, dim=-1)
    length = torch.hypot(sin, cos).clamp_min(torch.finfo(sin.dtype).eps)
    return torch.cat([sin / length, cos / length], dim=-1).unsqueeze(1)


def classify(vit: Any, x: Tensor, size: Tensor | None) -> Tensor:
    """Final norm, pooling and head: [B, P+K, C] -> logits [B, classes].

    size: [B, K] weights of the patch tokens in an average over them, None for equal ones. With merging the
    weights sum to N0, so that this is the mean over source patches.
    """
    x = vit.norm(x)
    if size is None or (vit.attn_pool is None and vit.global_pool not in ("avg", "avgmax")):
        return vit.forward_head(x)
    prefix = vit.num_prefix_tokens
    if vit.attn_pool is not None:
        pooled = _latent_pool(vit, x, size, prefix)
    else:
        pooled = _average_pool(vit, x, size, prefix)
    return vit.head(vit.head_drop(vit.fc_norm(pooled)))


def _average_pool(vit: Any, x: Tensor, size: Tensor, prefix: int) -> Tensor:
    if getattr(vit, "pool_include_prefix", False):
        size = torch.cat([size.new_ones(size.shape[0], prefix), size], dim=1)
    else:
        x = x[:, prefix:]
    mean = (x * (size / size.sum(dim=1, keepdim=True)).unsqueeze(-1).to(x.dtype)).sum(dim=1)
    return mean if vit.global_pool == "avg" else 0.5 * (mean + x.amax(dim=1))


def _latent_pool(vit: Any, x: Tensor, size: Tensor, prefix: int) -> Tensor:
    """Attention pooling in which a token of size s counts as s equal patches."""
    log_size = size.log()
    if getattr(vit, "pool_include_prefix", False) or not hasattr(vit, "pool_include_prefix"):
        log_size = torch.cat([log_size.new_zeros(size.shape[0], prefix), log_size], dim=1)
    else:
        x = x[:, prefix:]
    return vit.attn_pool(x, attn_mask=log_size[:, None, None, :].to(x.dtype))

"""Poolings over patch tokens in which a token of several patches counts as they do."""

from typing import Any

import torch
from torch import Tensor


def mean(x: Tensor, size: Tensor | None) -> Tensor:
    """The mean of tokens.

    Args:
        x: ``[B, K, C]``.
        size: ``[B, K]`` weights; None for equal ones.

    Returns:
        ``[B, C]``.
    """
    if size is None:
        return x.mean(dim=1)
    return (x * (size / size.sum(dim=1, keepdim=True)).unsqueeze(-1).to(x.dtype)).sum(dim=1)


def attention_mask(size: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """log(size) for every logit of a `torch.nn.MultiheadAttention` with one query.

    Args:
        size: ``[B, K]``.
        heads: H.
        dtype: of the queries.

    Returns:
        ``[B * H, 1, K]``, added to the logits.
    """
    return size.log().to(dtype)[:, None, None, :].expand(-1, heads, -1, -1).flatten(0, 1)


def siglip(head: Any, x: Tensor, size: Tensor | None) -> Tensor:
    """SigLIP's pooling: a learned query attends to the tokens.

    Args:
        head: the `SiglipMultiheadAttentionPoolingHead`.
        x: ``[B, K, C]``.
        size: ``[B, K]`` weights; None for equal ones.

    Returns:
        ``[B, C]``.
    """
    if size is None:
        return head(x)
    probe = head.probe.repeat(x.shape[0], 1, 1)
    mask = attention_mask(size, head.attention.num_heads, x.dtype)
    pooled = head.attention(probe, x, x, attn_mask=mask, need_weights=False)[0]
    return (pooled + head.mlp(head.layernorm(pooled)))[:, 0]

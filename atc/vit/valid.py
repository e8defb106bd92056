"""Tokens that do not count: padding and masks, in attention and in pooling."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def with_prefix(values: Tensor, prefix: int) -> Tensor:
    """[B, N] of patch tokens -> [B, P+N] of the sequence, in which prefix tokens have 1."""
    return torch.cat([values.new_ones(values.shape[0], prefix), values], dim=1)


def size_bias(model: Any) -> float:
    """What log(size) is multiplied by in a `ReducedViT`; the reducers of a model agree."""
    return next((float(reducer.size_bias) for reducer in model.reducers.values()), 1.0)


def key_bias(size: Tensor | None, valid: Tensor | None, prefix: int, scale: float = 1.0) -> Tensor | None:
    """What is added to the attention logits of each key: scale log(size) + log(valid), minus infinity for padding.

    Args:
        size: ``[B, N]`` float, 0 for padding; None where sizes play no part.
        valid: ``[B, N]`` as in `Plan.valid`; None where all tokens count.
        prefix: P.
        scale: of log(size); 0 leaves sizes out.

    Returns:
        ``[B, P+N]`` float; None where nothing is added.
    """
    if scale == 0:
        size = None
    if valid is None:
        return None if size is None else F.pad(scaled_log(size, scale), (prefix, 0))
    seen = valid.to(torch.get_default_dtype()) if valid.dtype == torch.bool else valid
    # The logarithm of 0 would send NaN back to what made a mask.
    bias = seen.clamp_min(torch.finfo(seen.dtype).tiny).log()
    if size is not None:
        bias = bias + scaled_log(size.clamp_min(torch.finfo(size.dtype).tiny), scale)
    bias = bias.masked_fill(valid <= 0, -torch.inf)
    return torch.cat([bias.new_zeros(bias.shape[0], prefix), bias], dim=1)


def scaled_log(size: Tensor, scale: float) -> Tensor:
    """log(size), times a number that is seldom another than 1."""
    return size.log() if scale == 1 else scale * size.log()


def pooling_weights(size: Tensor | None, valid: Tensor | None) -> Tensor | None:
    """The weights of tokens in a pooling over patches: sizes, without what does not count.

    Args:
        size: ``[B, K]`` float; None where every token counts once.
        valid: ``[B, K]`` as in `Plan.valid`; None where all count.

    Returns:
        ``[B, K]`` float, 0 for padding; None for equal weights.
    """
    if valid is None:
        return size
    if valid.dtype == torch.bool:
        weight = valid.to(torch.get_default_dtype())
    else:
        # An image of which a mask leaves nothing is pooled evenly, without a division by zero.
        weight = valid.to(torch.promote_types(valid.dtype, torch.float32)) + torch.finfo(torch.float32).tiny
    return weight if size is None else weight * size


def without_padding(x: Tensor, valid: Tensor | None, prefix: int) -> Tensor:
    """[B, P+K, C] with a real token in place of each one that does not count, so that no maximum is of these."""
    if valid is None:
        return x
    head, patches = x[:, :prefix], x[:, prefix:]
    real = valid.to(torch.float32).argmax(dim=1)[:, None, None].expand(-1, 1, x.shape[2])
    return torch.cat([head, torch.where((valid > 0).unsqueeze(-1), patches, patches.gather(1, real))], dim=1)

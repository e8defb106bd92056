"""The one explicit attention: timm's own submodules, plus a size bias and what reducers look at.

Letters: B batch, H heads, P prefix tokens, N patch tokens, T = P + N, C channels, D head width.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from torch import Tensor
from torch.nn import functional as F


class Seen(NamedTuple):
    """What one attention leaves for a reducer; patch tokens only, except `keys` and `attn`."""

    keys: Tensor | None = None  # [B, H, T, D] before any rotary embedding
    cls_attn: Tensor | None = None  # [B, H, N]
    values: Tensor | None = None  # [B, H, N, D]
    attn: Tensor | None = None  # [B, H, T, T]
    queries: Tensor | None = None  # [B, H, N, D] before any rotary embedding
    input: Tensor | None = None  # [B, N, C] of the block, before its norm
    attention_output: Tensor | None = None  # [B, N, C] behind the projection, before layer scale and residual

    def mean_keys(self, x: Tensor, prefix: int) -> Tensor:
        """[B, N, D] mean over heads, for tokens [B, P+N, C]; D = 0 before the first attention."""
        if self.keys is None:
            return x.new_zeros(x.shape[0], x.shape[1] - prefix, 0)
        return self.keys[:, :, prefix:].mean(dim=1)


class Span(NamedTuple):
    """Images that stand one behind the other, padded to as many tokens as each other."""

    images: int
    tokens: int  # of each of them


def _qkv(attn: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B, T, C] -> query, key, value [B, H, T, D], from the ways timm's attention classes keep them."""
    # The number of heads is counted, because an empty batch leaves reshape nothing to infer it from.
    if attn.qkv is None:
        layers = attn.q_proj, attn.k_proj, attn.v_proj
        parts = (layer(x) for layer in layers)
        q, k, v = (y.unflatten(-1, (y.shape[-1] // attn.head_dim, attn.head_dim)).transpose(1, 2) for y in parts)
        return attn.q_norm(q), attn.k_norm(k), v
    if getattr(attn, "q_bias", None) is None:
        fused = attn.qkv(x)
    else:  # EVA: query and value biases apart, none for keys
        bias = torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
        fused = attn.qkv(x) + bias if attn.qkv_bias_separate else F.linear(x, attn.qkv.weight, bias)
    heads = fused.shape[-1] // (3 * attn.head_dim)
    q, k, v = fused.unflatten(-1, (3, heads, attn.head_dim)).permute(2, 0, 3, 1, 4).unbind(0)
    return attn.q_norm(q), attn.k_norm(k), v


def _rotate(attn: Any, x: Tensor, rope: Tensor, prefix: int) -> Tensor:
    half = getattr(attn, "rotate_half", False)
    rotated = apply_rot_embed_cat(x[:, :, prefix:], rope, half=half)
    return torch.cat([x[:, :, :prefix], rotated], dim=2)


def attend(
    attn: Any,
    x: Tensor,
    prefix: int,
    log_size: Tensor | None = None,
    rope: Tensor | None = None,
    needs: frozenset[str] = frozenset(),
    policy: Tensor | None = None,
    spans: Sequence[Span] | None = None,
) -> tuple[Tensor, Seen]:
    """Self-attention of any model, to the bit that of its library where nothing is reduced.

    Args:
        attn: a timm `Attention`, `AttentionRope` or `EvaAttention`, or a `Part` that shows their names.
        x: ``[B, T, C]``.
        prefix: P, of the T tokens those that stand before the patches.
        log_size: ``[B, T]`` float, added to every logit of its key (ToMe, arXiv 2210.09461, Eq. 1), minus infinity for
            padding; None adds nothing.
        rope: rotary embeddings ``[N, 2D]`` or ``[B, 1, N, 2D]``.
        needs: as in `Reducer.needs`, and "keys".
        policy: ``[B, T]`` float, see `masked_softmax`.
        spans: which of the T tokens attend to each other, where B = 1, `prefix` = 0, and `needs` are keys at the most;
            None: all of an image.

    Returns:
        ``[B, T, C]`` and what was seen.
    """
    gate = attn.gate(x).sigmoid() if getattr(attn, "gate", None) is not None else None
    q, k, v = _qkv(attn, x)
    # Reducers compare what tokens are, not where: keys are handed out before any rotation by position.
    keys = k if "keys" in needs else None
    queries = q[:, :, prefix:] if "queries" in needs else None
    if rope is not None:
        q, k = _rotate(attn, q, rope, prefix).type_as(v), _rotate(attn, k, rope, prefix).type_as(v)
    if k.shape[1] != q.shape[1]:  # grouped-query attention
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    bias = None if log_size is None else log_size[:, None, None, :].to(q.dtype)

    weights = None
    if spans is not None:
        out = _by_span(attn, q, k, v, bias, spans)
    elif attn.fused_attn and "attn" not in needs and policy is None:
        out = _fused(attn, q, k, v, bias)
    else:
        weights = _softmax(attn, q, k, bias, policy)
        out = attn.attn_drop(weights) @ v

    out = out.transpose(1, 2).flatten(2)
    out = attn.norm(out)
    if gate is not None:
        out = out * gate
    out = attn.proj_drop(attn.proj(out))

    cls_attn = None
    if "cls_attn" in needs:
        # One extra 1 x T product, so that fused attention stays on.
        cls_row = _cls_row(attn, q[:, :, 0], k, bias) if weights is None else weights[:, :, 0]
        cls_attn = cls_row[:, :, prefix:]
    values = v[:, :, prefix:] if "values" in needs else None
    output = out[:, prefix:] if "attention_output" in needs else None
    seen = Seen(keys, cls_attn, values, weights if "attn" in needs else None, queries, attention_output=output)
    return out, seen


def _fused(attn: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    scale = attn.scale if getattr(attn, "scales_logits", False) else None
    dropout = attn.attn_drop.p if attn.training else 0.0
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=scale)


def _by_span(attn: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, spans: Sequence[Span]) -> Tensor:
    """[1, H, S, D] queries, keys, values and [1, 1, 1, S] bias -> [1, H, S, D]: images attend to themselves only."""
    heads, width = q.shape[1], q.shape[3]
    rows = [images * tokens for images, tokens in spans]
    biases = [None] * len(spans) if bias is None else bias.flatten().split(rows)
    found, first = [], 0
    for (images, tokens), own in zip(spans, biases, strict=True):
        shape, strided = (images, heads, tokens, width), []
        for x in (q, k, v):  # in one operator: spans are many, and short
            _, head, row, one = x.stride()
            strided.append(x.as_strided(shape, (tokens * row, head, row, one), x.storage_offset() + first * row))
        query, key, value = strided
        mask = None if own is None else own.view(images, 1, 1, tokens)
        if attn.fused_attn:
            out = _fused(attn, query, key, value, mask)
        else:
            out = attn.attn_drop(_softmax(attn, query, key, mask, None)) @ value
        found.append(out.transpose(1, 2).reshape(-1, heads, width))
        first += images * tokens
    return torch.cat(found).transpose(0, 1).unsqueeze(0)


def _cls_row(attn: Any, q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
    """[B, H, D] query of the first token, [B, H, T, D] keys -> [B, H, T] how much it attends to each token."""
    batch, heads, tokens, width = k.shape
    after = getattr(attn, "scales_logits", False)
    q = q if after else q * attn.scale
    # `bmm` by itself: `matmul` would dispatch twice as many operators.
    logits = torch.bmm(k.reshape(batch * heads, tokens, width), q.reshape(batch * heads, width, 1))
    logits = logits.view(batch, heads, tokens)
    logits = logits * attn.scale if after else logits
    return (logits if bias is None else logits + bias[:, :, 0]).softmax(dim=-1)


def _softmax(attn: Any, q: Tensor, k: Tensor, bias: Tensor | None, policy: Tensor | None = None) -> Tensor:
    if getattr(attn, "scales_logits", False):  # as transformers does: to the bit, the order matters
        logits = (q @ k.transpose(-2, -1)) * attn.scale
    else:
        logits = (q * attn.scale) @ k.transpose(-2, -1)
    logits = logits if bias is None else logits + bias
    return logits.softmax(dim=-1) if policy is None else masked_softmax(logits, policy).to(q.dtype)


def masked_softmax(logits: Tensor, policy: Tensor, eps: float = 1e-6) -> Tensor:
    """Attention in which token j is seen by others as far as `policy[j]` says, and by itself in full.

    ``e = exp(logits - max) * M`` with ``M[i, j] = policy[j]`` off the diagonal and 1 on it, then ``(e + eps / T) /
    (sum(e) + eps)`` (DynamicViT, arXiv 2106.02034, Eq. 11, and its code). Gradients reach a policy of 0, too.

    Args:
        logits: ``[B, H, T, T]``.
        policy: ``[B, T]`` in [0, 1].
        eps: keeps the sum from zero.

    Returns:
        ``[B, H, T, T]``, in float32 at least; rows sum to one.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    tokens = logits.shape[-1]
    own = torch.eye(tokens, device=logits.device, dtype=logits.dtype)
    seen = policy[:, None, None, :].to(logits.dtype) * (1 - own) + own
    weights = (logits - logits.amax(dim=-1, keepdim=True)).exp() * seen
    return (weights + eps / tokens) / (weights.sum(dim=-1, keepdim=True) + eps)

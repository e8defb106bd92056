"""`torch.nn.MultiheadAttention` under the names that `atc.vit.attention` reads."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from atc.vit.parts import FloatDropout, Part, attention_part


class _Projection:
    """Queries, keys and values from the one matrix in which a module keeps them."""

    def __init__(self, module: Any):
        self.module = module

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.module.in_proj_weight, self.module.in_proj_bias)


def multihead(attention: Any, names: dict[str, str] | None = None, **fixed: Any) -> Part:
    """An attention that keeps `in_proj_weight` and `out_proj`.

    Args:
        attention: the module.
        names: further names, or others than those of `nn.MultiheadAttention`.
        **fixed: names with values of their own.

    Returns:
        The module under other names.
    """
    own: dict[str, Any] = {"qkv": _Projection(attention)}
    if not names:
        own["attn_drop"] = FloatDropout(attention, "dropout")
    return attention_part(attention, {"proj": "out_proj", "head_dim": "head_dim"} | (names or {}), **own | fixed)


def refusal(attention: nn.Module) -> str | None:
    """Why an attention cannot be run part by part; None if it can.

    Args:
        attention: of a block.

    Returns:
        What it is, in words.
    """
    if type(attention) is not nn.MultiheadAttention:
        return f"a {type(attention).__name__} attention, not a MultiheadAttention"
    if attention.in_proj_weight is None:
        return "a MultiheadAttention with keys or values of another width"
    if attention.bias_k is not None or attention.add_zero_attn:
        return "a MultiheadAttention with additional keys (add_bias_kv, add_zero_attn)"
    return None

"""The layers of transformers' vision models, of every release since 5.0, under the names that ATC reads."""

from typing import Any

from atc.vit.parts import Chain, FloatDropout, Part, block_part, first, identity


def shown(layer: Any) -> Part:
    """A layer, by the names that `atc.vit.blocks` reads.

    Args:
        layer: of the model.

    Returns:
        The layer under other names.
    """
    attention = getattr(layer, "attention", None) or layer.self_attn
    names = {
        "norm1": first(layer, "norm1", "layernorm_before", "layer_norm1"),
        "norm2": first(layer, "norm2", "layernorm_after", "layer_norm2"),
        "ls1": first(layer, "layer_scale1"),
        "ls2": first(layer, "layer_scale2"),
        "drop_path1": first(layer, "drop_path", "dropout"),
        "drop_path2": first(layer, "drop_path", "output.dropout", "dropout"),
        "mlp": first(layer, "mlp"),
    }
    there = {name: path for name, path in names.items() if path is not None}
    if "mlp" in there:
        return block_part(layer, there, attn=_attention(attention))
    chain = Chain(layer, "intermediate", "output.dense")
    return block_part(layer, there, attn=_attention(attention), within=["output"], mlp=chain)


def _attention(attention: Any) -> Part:
    names = {
        "q_proj": first(attention, "q_proj", "attention.query"),
        "k_proj": first(attention, "k_proj", "attention.key"),
        "v_proj": first(attention, "v_proj", "attention.value"),
        "proj": first(attention, "o_proj", "out_proj", "output.dense"),
        "proj_drop": first(attention, "output.dropout"),
        "head_dim": first(attention, "head_dim", "attention.attention_head_size"),
        "scale": first(attention, "scaling", "scale", "attention.scaling"),
        "config": first(attention, "config", "attention.config"),
    }
    dropout = first(attention, "attention_dropout", "attention.dropout_prob", "dropout")
    fixed: dict[str, Any] = dict.fromkeys(("q_norm", "k_norm", "norm"), identity)
    fixed |= {"qkv": None, "rotate_half": True, "scales_logits": True, "proj_drop": identity}
    fixed["attn_drop"] = FloatDropout(attention, str(dropout))
    if names["proj_drop"] is not None:
        del fixed["proj_drop"]
    within = ["attention", "output"] if hasattr(attention, "output") else []
    return _Attention(attention, {name: path for name, path in names.items() if path is not None}, fixed, within)


class _Attention(Part):
    @property
    def fused_attn(self) -> bool:
        """Whether the weights between tokens need not be seen: the implementation may change after wrapping."""
        return self.config._attn_implementation != "eager"

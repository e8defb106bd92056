"""The layers of a block that take merged tokens, and what they cannot take."""

from typing import Any

from torch import nn

from atc.diffusion.networks import Block

SITES = ("attn1", "attn2", "ff", "kv")


def layer_of(block: Block, site: str) -> nn.Module | None:
    """The layer of a site in a block; None where the block has none."""
    name = "attn" if block.joint else {"kv": "attn1"}.get(site, site)
    layer = getattr(block.module, name, None)
    return layer if isinstance(layer, nn.Module) else None


def refuse_layer(block: str, site: str, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise ValueError where an attention gets something that does not fit merged tokens.

    Args:
        block: its name.
        site: of `SITES`.
        layer: the attention or feed-forward.
        args: of its call.
        kwargs: of its call.
    """
    if site == "ff":
        return
    mask = args[2] if len(args) > 2 else kwargs.get("attention_mask")
    if mask is not None and (site != "attn2" or (mask.ndim > 2 and mask.shape[-2] > 1)):
        raise ValueError(f"{block}: {site} has an attention mask, which does not fit merged tokens")
    per_place = ("ip_adapter_masks", "image_rotary_emb") if site == "attn2" else ("image_rotary_emb",)
    for name in per_place:
        if kwargs.get(name) is not None:
            raise ValueError(f"{block}: {site} gets {name}, a value for each place, which does not fit merged tokens")
    if site != "kv":
        return
    if (args[1] if len(args) > 1 else kwargs.get("encoder_hidden_states")) is not None:
        raise ValueError(f"{block}: attn1 attends to another sequence, whose tokens kv cannot merge")
    processor = type(getattr(layer, "processor", None)).__name__
    if getattr(layer, "fused_projections", False) or "PAG" in processor:
        reason = "has fused projections" if getattr(layer, "fused_projections", False) else f"has {processor}"
        raise ValueError(
            f"{block}: attn1 {reason}, which reads keys and values from its queries' tokens: kv cannot merge"
        )

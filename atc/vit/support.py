"""Which backbones can be wrapped, and why not the others."""

from timm.layers.attention import Attention, AttentionRope
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

_BLOCKS = {Block: (Attention, AttentionRope), EvaBlock: (EvaAttention, AttentionRope)}


def refusal(vit: nn.Module) -> str | None:
    """The reason this model cannot be wrapped, in one line; None if it can."""
    name = type(vit).__name__
    if hasattr(vit, "reducers"):
        return f"this {name} is wrapped already; atc.unwrap(model) gives the backbone in it"
    if not isinstance(vit, (VisionTransformer, Eva)):
        return f"{name} is not a timm VisionTransformer or Eva; token reduction needs their plain token sequence"
    for number, block in enumerate(vit.blocks, start=1):
        attentions = _BLOCKS.get(type(block))  # a subclass may compute anything, so the exact class counts
        if attentions is None:
            known = ", ".join(cls.__name__ for cls in _BLOCKS)
            return f"block {number} of this {name} is a {type(block).__name__}; only {known} can be wrapped"
        if type(block.attn) not in attentions:
            known = ", ".join(cls.__name__ for cls in attentions)
            return f"block {number} has a {type(block.attn).__name__} attention; only {known} can be wrapped"
    if getattr(vit, "rope_mixed", False):
        return f"this {name} learns rotary positions per block (rope_mixed), which merged tokens cannot follow"
    pool = getattr(vit, "attn_pool", None)
    if pool is not None and type(pool).__name__ != "AttentionPoolLatent":
        return f"the attention pooling {type(pool).__name__} cannot weigh merged tokens; AttentionPoolLatent can"
    if _patch_dropout(vit) > 0:
        return "patch dropout removes tokens before any reducer sees them; build the model with patch_drop_rate=0"
    return None


def _patch_dropout(vit: nn.Module) -> float:
    return float(getattr(getattr(vit, "patch_drop", None), "prob", 0.0))

"""State dicts of torchvision's VisionTransformer, under timm's names."""

import re
from collections.abc import Mapping

from torch import Tensor

_PARTS = (
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_(weight|bias)$", r".attn.qkv.\1"),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(?:0|linear_1)\.", ".mlp.fc1."),  # the second name is that of files older than torchvision 0.12
    (r"\.mlp\.(?:3|linear_2)\.", ".mlp.fc2."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.ln\.", "norm."),
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^heads\.head\.", "head."),
)


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under timm's names; a state dict that is not torchvision's as it is."""
    if "encoder.pos_embedding" not in state:
        return dict(state)
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in _PARTS:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return renamed

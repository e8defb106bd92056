"""Dense tasks: feature maps from ViTs whose tokens are reduced, and detectors on top of them.

import timm, atc
vit = timm.create_model("deit_tiny_patch16_224", pretrained=True)
backbone = atc.dense.ViTAdapter(vit, "atc_average", keep_rate=0.5)
maps = backbone(images)  # {"0": [B, 192, H/4, W/4], ..., "3": [B, 192, H/32, W/32]}
"""

from atc.dense.adapter import ViTAdapter

__all__ = ["ViTAdapter"]

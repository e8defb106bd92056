"""Dense tasks: feature maps from ViTs whose tokens are reduced, and detectors on top of them.

import timm, atc
vit = timm.create_model("deit_tiny_patch16_224", pretrained=True)
backbone = atc.dense.ViTAdapter(vit, "atc_average", keep_rate=0.5)
maps = backbone(images)  # {"0": [B, 192, H/4, W/4], ..., "3": [B, 192, H/32, W/32]}
detector = atc.dense.mask_rcnn(backbone, num_classes=80)
"""

from atc.dense.adapter import ViTAdapter
from atc.dense.rcnn import MaskRCNN, mask_rcnn

__all__ = ["MaskRCNN", "ViTAdapter", "mask_rcnn"]

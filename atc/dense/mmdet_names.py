"""Weights of mmdet's Mask R-CNN under torchvision's names."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from atc.dense.adapter import ViTAdapter
from atc.dense.released import check_names, tensors_of

if TYPE_CHECKING:
    from atc.dense.rcnn import MaskRCNN

# Which of mmdet's names, and what stands in their place.
NAMES = (
    (r"^neck\.lateral_convs\.(\d)\.conv\.", r"backbone.fpn.inner_blocks.\1.0."),
    (r"^neck\.fpn_convs\.(\d)\.conv\.", r"backbone.fpn.layer_blocks.\1.0."),
    (r"^rpn_head\.rpn_conv\.", "rpn.head.conv.0.0."),
    (r"^rpn_head\.rpn_cls\.", "rpn.head.cls_logits."),
    (r"^rpn_head\.rpn_reg\.", "rpn.head.bbox_pred."),
    (r"^roi_head\.bbox_head\.shared_fcs\.0\.", "roi_heads.box_head.fc6."),
    (r"^roi_head\.bbox_head\.shared_fcs\.1\.", "roi_heads.box_head.fc7."),
    (r"^roi_head\.bbox_head\.fc_cls\.", "roi_heads.box_predictor.cls_score."),
    (r"^roi_head\.bbox_head\.fc_reg\.", "roi_heads.box_predictor.bbox_pred."),
    (r"^roi_head\.mask_head\.convs\.(\d)\.conv\.", r"roi_heads.mask_head.\1.0."),
    (r"^roi_head\.mask_head\.upsample\.", "roi_heads.mask_predictor.conv5_mask."),
    (r"^roi_head\.mask_head\.conv_logits\.", "roi_heads.mask_predictor.mask_fcn_logits."),
)
BODY = "backbone."
_OWN_BODY = "backbone.body."


def renamed(name: str) -> str:
    """A name of mmdet's as torchvision's; one that is none of mmdet's stays.

    Examples:
        >>> renamed("rpn_head.rpn_conv.weight"), renamed("backbone.up.bias")
        ('rpn.head.conv.0.0.weight', 'backbone.body.up.bias')
    """
    for pattern, place in NAMES:
        if re.match(pattern, name):
            return re.sub(pattern, place, name)
    return _OWN_BODY + name.removeprefix(BODY) if name.startswith(BODY) else name


def moved_background(name: str, value: Tensor) -> Tensor:
    """The same weights for the background in front: mmdet has it last among classes, and none for boxes and masks.

    Args:
        name: torchvision's.
        value: mmdet's.
    """
    if "cls_score." in name:
        return value.roll(1, dims=0)
    more = 4 if "box_predictor.bbox_pred." in name else 1 if "mask_fcn_logits." in name else 0
    return torch.cat([value.new_zeros(more, *value.shape[1:]), value]) if more else value


def load_detector(detector: "MaskRCNN", state_dict: Mapping[str, Any]) -> None:
    """See `MaskRCNN.load_released`."""
    named = {renamed(str(name)): value for name, value in tensors_of(state_dict).items()}
    tensors = {name: moved_background(name, v) if isinstance(v, Tensor) and v.ndim else v for name, v in named.items()}
    body = detector.backbone.body
    own = detector.state_dict()
    if isinstance(body, ViTAdapter):  # which checks its own part, and keeps positions whole
        of_body = {name: value for name, value in tensors.items() if name.startswith(_OWN_BODY)}
        tensors = {name: value for name, value in tensors.items() if name not in of_body}
        own = {name: value for name, value in own.items() if not name.startswith(_OWN_BODY)}
        check_names(tensors, own, "Mask R-CNN")
        body.load_released({name.removeprefix(_OWN_BODY): value for name, value in of_body.items()})
    else:
        check_names(tensors, own, "Mask R-CNN")
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)

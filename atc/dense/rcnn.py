"""Mask R-CNN (arXiv 1703.06870) of torchvision, with the numbers and rules of mmdet, on which the papers ran."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from atc.dense.boxes import RATIOS, Anchors
from atc.dense.mmdet_names import load_detector
from atc.dense.proposals import ProposalHead, Proposals
from atc.dense.regions import STRIDES, BoxPredictor, MaskPredictor, RegionHeads
from atc.dense.transform import Resized
from atc.values import Count, checked

_CELLS = 7  # along a side of what the box head looks at


class FeaturePyramid(nn.Module):
    """Four maps of a backbone, and a coarser one, with equal channels (arXiv 1612.03144).

    Args:
        body: gives maps "0" to "3" of `out_channels` channels each.
        channels: of the results.
    """

    def __init__(self, body: nn.Module, channels: int):
        super().__init__()
        width: Any = body.out_channels
        self.body, self.out_channels = body, channels
        self.fpn = FeaturePyramidNetwork([int(width)] * len(STRIDES), channels, LastLevelMaxPool())

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """``[B, 3, H, W]`` -> maps "0" to "3" and "pool", at strides 4 to 64."""
        maps: Any = self.fpn(self.body(images))
        return maps


class MaskRCNN(GeneralizedRCNN):
    """What `mask_rcnn` returns.

    Args:
        backbone: gives five maps.
        rpn: proposes boxes.
        roi_heads: says what is in them.
        transform: from images to a batch, and back.
    """

    def __init__(self, backbone: FeaturePyramid, rpn: Proposals, roi_heads: RegionHeads, transform: Resized):
        super().__init__(backbone, rpn, roi_heads, transform)

    def load_released(self, state_dict: Mapping[str, Any]) -> None:
        """Load weights of a Mask R-CNN of mmdet, under mmdet's names.

        What is not used of a ViT-Adapter may be there, and `num_batches_tracked` may be missing, as in
        `ViTAdapter.load_released`.

        Args:
            state_dict: of a checkpoint, or a checkpoint with a `state_dict`.

        Raises:
            ValueError: any other name is missing or unknown, or a tensor has another shape; then nothing is loaded.
        """
        load_detector(self, state_dict)


@checked
def mask_rcnn(
    backbone: nn.Module,
    num_classes: Count,
    *,
    fpn_channels: Count = 256,
    head_channels: Count = 1024,
    mask_channels: Count = 256,
    mask_layers: Count = 4,
    anchor_sizes: Sequence[Count] = (32, 64, 128, 256, 512),
    proposals: Count = 1000,
    samples: Count = 512,
    min_size: Count | None = 800,
    max_size: Count = 1333,
) -> MaskRCNN:
    """A detector on a backbone, called as torchvision's detectors are.

    With targets in training it returns losses; in evaluation `boxes`, `labels` from 1, `scores` and `masks`,
    probabilities ``[n, 1, height, width]`` of which one half and more is the object.

    Anchors, matches, losses, pooling and masks are mmdet's, not torchvision's: with mmdet's weights it finds what mmdet
    finds.

    Args:
        backbone: from ``[B, 3, H, W]`` to maps "0" to "3" at strides 4 to 32, of `out_channels` channels each, such as
            a `ViTAdapter`.
        num_classes: kinds of objects, without the background.
        fpn_channels: channels of the feature pyramid.
        head_channels: channels of the box head.
        mask_channels: channels of the mask head.
        mask_layers: its convolutions.
        anchor_sizes: sides of the square anchors, in pixels, one for each level at strides 4 to 64.
        proposals: boxes of an image that the heads look at, at most.
        samples: boxes of an image that the heads are trained on.
        min_size: pixels that the shorter side of images gets, if the longer allows; None leaves images as they are.
        max_size: pixels that the longer side gets at most.

    Returns:
        The detector, in training mode.

    Raises:
        ValueError: a backbone without `out_channels`, or anchors for another number of levels.

    Examples:
        >>> import timm, torch
        >>> from atc.dense import ViTAdapter
        >>> vit = timm.create_model("vit_tiny_patch16_224", num_classes=0)
        >>> detector = mask_rcnn(ViTAdapter(vit, "tome", keep_rate=0.7), num_classes=80, min_size=64).eval()
        >>> sorted(detector([torch.rand(3, 48, 64)])[0])
        ['boxes', 'labels', 'masks', 'scores']
    """
    if not isinstance(getattr(backbone, "out_channels", None), int):
        raise ValueError(
            f"backbone: a {type(backbone).__name__} has no out_channels, the channels of its maps; take a ViTAdapter"
        )
    strides = (*STRIDES, 2 * STRIDES[-1])
    if len(anchor_sizes) != len(strides):
        raise ValueError(f"anchor_sizes={list(anchor_sizes)} must be {len(strides)} numbers, one for each level")
    pyramid = FeaturePyramid(backbone, fpn_channels)
    rpn = Proposals(Anchors(anchor_sizes, strides), ProposalHead(fpn_channels, len(RATIOS)), proposals)
    heads = RegionHeads(
        TwoMLPHead(fpn_channels * _CELLS**2, head_channels),
        BoxPredictor(head_channels, num_classes + 1),
        MaskRCNNHeads(fpn_channels, [mask_channels] * mask_layers, 1),
        MaskPredictor(mask_channels, mask_channels, num_classes + 1),
        samples,
    )
    _initialise(pyramid.fpn, heads)
    return MaskRCNN(pyramid, rpn, heads, Resized(min_size, max_size))


def _initialise(fpn: nn.Module, heads: Any) -> None:
    """Draw weights as mmdet does where torchvision does otherwise."""
    for layer in (*fpn.modules(), *heads.box_head.modules()):
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for layer, std in ((heads.box_predictor.cls_score, 0.01), (heads.box_predictor.bbox_pred, 0.001)):
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
    for layer in heads.mask_predictor.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.bias is not None:
            nn.init.zeros_(layer.bias)

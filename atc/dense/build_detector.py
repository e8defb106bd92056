"""A Mask R-CNN around a ViT, from the settings of a configuration."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from atc.core import Schedule, Stages
from atc.dense.adapter import ViTAdapter
from atc.dense.detector import Detector
from atc.dense.rcnn import mask_rcnn
from atc.values import Count, Positive
from atc.vit.reduced import ReducerFactory


def build_detector(
    vit: nn.Module,
    num_classes: int,
    reducer: ReducerFactory,
    schedule: Schedule,
    as_released: bool = False,
    proportional_attention: bool | None = None,
    size_weighted: bool | None = None,
    *,
    conv_inplane: Count = 64,
    deform_heads: Count = 6,
    deform_ratio: Positive = 1.0,
    cffn_ratio: Positive = 0.25,
    fpn_channels: Count = 256,
    head_channels: Count = 1024,
    mask_channels: Count = 256,
    mask_layers: Count = 4,
    anchor_sizes: Sequence[Count] = (32, 64, 128, 256, 512),
    samples: Count = 512,
    proposals: Count = 1000,
) -> tuple[Detector, Detector]:
    """A detector with its tokens reduced, and the same with all its tokens; every parameter is shared.

    Args:
        vit: the backbone; see `ViTAdapter`, as for the next settings.
        num_classes: kinds of objects, without the background.
        reducer: the method.
        schedule: `Stages`: each keeps a share of the tokens that reach it.
        as_released: see `ViTAdapter`.
        proportional_attention: whether sizes count in attention; None: as the method has it.
        size_weighted: whether sizes weight means; None: as the method has it.
        conv_inplane: channels of the convolutions of `ViTAdapter`.
        deform_heads: heads of its deformable attention.
        deform_ratio: share of the width that its deformable attention has.
        cffn_ratio: share of the width that its convolutional feed-forward layers have.
        fpn_channels: channels of the feature pyramid; see `mask_rcnn`, as for the next settings.
        head_channels: width of the head of boxes.
        mask_channels: channels of the head of masks.
        mask_layers: convolutions of the head of masks.
        anchor_sizes: sides of the anchors in pixels, one for each level of the pyramid.
        samples: regions of an image that the heads learn from.
        proposals: regions of an image that the heads look at.

    Returns:
        Both detectors.

    Raises:
        ValueError: a schedule, ViT, method or setting that cannot be used, in one line.
    """
    if not isinstance(schedule, Stages):
        raise ValueError(f"schedule={type(schedule).__name__}: task=detection reduces in stages: schedule=stages")
    of_adapter: dict[str, Any] = {
        "conv_inplane": conv_inplane,
        "deform_heads": deform_heads,
        "deform_ratio": deform_ratio,
        "cffn_ratio": cffn_ratio,
    }
    adapter = ViTAdapter(
        vit,
        reducer,
        schedule.keep_rate,
        schedule.blocks,
        threshold=schedule.threshold,
        proportional_attention=proportional_attention,
        size_weighted=size_weighted,
        as_released=as_released,
        clamp=schedule.clamp,
        **of_adapter,
    )
    patches: Any = adapter.host.model
    patches.pretrained_cfg = getattr(vit, "pretrained_cfg", None)  # which images it takes
    rcnn: Any = mask_rcnn(
        adapter,
        num_classes,
        fpn_channels=fpn_channels,
        head_channels=head_channels,
        mask_channels=mask_channels,
        mask_layers=mask_layers,
        anchor_sizes=anchor_sizes,
        proposals=proposals,
        samples=samples,
        min_size=None,
    )
    model = Detector(rcnn)
    return model, model.without_reduction(vit, **of_adapter)

"""A detector on batches that are resized, normalised and padded already.

Its parts are those of torchvision's `GeneralizedRCNN`, under the same names.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from typing_extensions import override

from atc.dense.adapter import ViTAdapter
from atc.dense.around_vit import AroundViT
from atc.dense.mmdet_names import load_detector

# Of an adapter, what is shared with one around the same ViT.
_SHARED = ("spm", "level_embed", "interactions", "up", "norm1", "norm2", "norm3", "norm4")


class Detector(AroundViT):
    """Mask R-CNN, or another of torchvision's two-stage detectors, around a `ViTAdapter`.

    Args:
        rcnn: the detector, such as `atc.dense.mask_rcnn` makes; its modules become this one's. Somewhere in its
            backbone is a `ViTAdapter`.

    Attributes:
        method, host, schedule, reducers, notices, stage_counts, trace: those of the adapter.
        patches: of an image of the latest forward.
        finite: of the latest forward in evaluation, which images had finite feature maps, bool [B].
    """

    replayable = False  # as a CUDA graph: how many boxes there are differs from image to image

    def __init__(self, rcnn: Any):
        super().__init__()
        self.backbone, self.rpn, self.roi_heads = rcnn.backbone, rcnn.rpn, rcnn.roi_heads
        self.transform = rcnn.transform  # of which only the way back to the files' images is used
        self.finite: Tensor | None = None
        self.patches = self.host.num_patches
        self.train(rcnn.training)

    @property
    def adapter(self) -> ViTAdapter:
        """The part of the backbone that reduces tokens."""
        return next(module for module in self.backbone.modules() if isinstance(module, ViTAdapter))

    @property
    @override
    def reduced(self) -> ViTAdapter:
        return self.adapter

    def tokens_per_block(self) -> list[float]:
        """Patch tokens entering each block in the latest forward."""
        adapter = self.adapter
        return adapter.tokens_per_block() if adapter.trace else [float(self.patches)] * adapter.depth

    def forward(self, images: Tensor, targets: Sequence[Mapping[str, Any]] | None = None) -> Any:
        """Losses in training, else what is found.

        Args:
            images: ``[B, 3, H, W]``, normalised, both sides multiples of 32.
            targets: of each image its ``size`` within the batch (None: all of it), and the ``orig_size`` that boxes
                and masks are returned for (None: ``size``); in training ``boxes``, ``labels`` and ``masks``.

        Returns:
            In training, the losses by name. Else, per image, ``boxes`` [n, 4], x0 y0 x1 y1 in pixels; ``labels`` [n],
            from 1; ``scores`` [n]; and ``masks``, probabilities [n, 1, height, width], of detectors that have masks.
        """
        whole = tuple(images.shape[-2:])
        sizes = [_size(target, "size", whole) for target in targets] if targets is not None else [whole] * len(images)
        rows, columns = self.host.grid(images)
        self.patches = rows * columns
        features = self.backbone(images)
        listed = ImageList(images, sizes)
        if self.training:
            assert targets is not None, "a detector is trained on targets"
            given = [_placed(target, whole) for target in targets]
            proposals, of_proposals = self.rpn(listed, features, given)
            _, of_regions = self.roi_heads(features, proposals, sizes, given)
            return {**of_proposals, **of_regions}
        self.finite = torch.stack([level.flatten(1).isfinite().all(dim=1) for level in features.values()]).all(dim=0)
        proposals, _ = self.rpn(listed, features)
        found, _ = self.roi_heads(features, proposals, sizes)
        original = [_size(target, "orig_size", sizes[n]) for n, target in enumerate(targets or [])] or sizes
        return self.transform.postprocess(found, sizes, original)

    def load_released(self, state_dict: Mapping[str, Any]) -> None:
        """Load weights of a Mask R-CNN of mmdet; see `MaskRCNN.load_released`."""
        released: Any = self  # has the parts of one
        load_detector(released, state_dict)

    def without_reduction(self, vit: nn.Module, **settings: Any) -> "Detector":
        """The same detector with all its tokens; every parameter is shared.

        Args:
            vit: what the adapter was made of.
            **settings: of the adapter.
        """
        dense: Any = ViTAdapter(vit, "none", **settings)
        for name in _SHARED:
            setattr(dense, name, getattr(self.adapter, name))
        return _with_adapter(self, self.adapter, dense)


def _with_adapter(module: nn.Module, old: nn.Module, new: nn.Module) -> Any:
    """A module around `new` in place of `old`, that shares all others."""
    if module is old:
        return new
    if not any(inner is old for inner in module.modules()):
        return module
    copied = copy.copy(module)
    copied._modules = {name: inner and _with_adapter(inner, old, new) for name, inner in module._modules.items()}
    return copied


def _size(target: Mapping[str, Any], name: str, default: tuple[int, ...]) -> tuple[int, int]:
    """Height and width that a target says."""
    height, width = (int(side) for side in target.get(name, default))
    return height, width


def _placed(target: Mapping[str, Any], whole: tuple[int, ...]) -> dict[str, Tensor]:
    """What torchvision's detectors train on, with masks as large as the batch's images."""
    masks = target["masks"]
    right, below = whole[1] - masks.shape[-1], whole[0] - masks.shape[-2]
    return {
        "boxes": target["boxes"],
        "labels": target["labels"],
        "masks": nn.functional.pad(masks, (0, right, 0, below)),
    }

"""What is in the proposed boxes: classes, better boxes and masks, with mmdet's matches and losses."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, maskrcnn_inference
from torchvision.ops import MultiScaleRoIAlign, batched_nms, box_iou, clip_boxes_to_image, roi_align
from typing_extensions import override

from atc.dense import masks
from atc.dense.boxes import Coder, Matcher, wide

LEVELS = ("0", "1", "2", "3")
STRIDES = (4, 8, 16, 32)
_FINEST = 56  # pixels: boxes of a side up to twice this much are looked up on the finest level


class AlignedPool(MultiScaleRoIAlign):
    """Cuts boxes out of the level that suits their size; aligned, with as many samples as a box has places.

    Args:
        side: cells along a side of what is cut out.
    """

    def __init__(self, side: int):
        super().__init__(list(LEVELS), side, sampling_ratio=-1)

    @override
    def forward(self, x: Mapping[str, Tensor], boxes: list[Tensor], image_shapes: Any = None) -> Tensor:
        """Levels ``[B, C, rows, columns]`` and ``[n, 4]`` boxes of each image -> ``[sum of n, C, side, side]``."""
        maps = [x[name] for name in LEVELS]
        image = torch.cat([one.new_full((len(one), 1), number) for number, one in enumerate(boxes)])
        regions = torch.cat([image, torch.cat(boxes)], dim=1)
        level = level_of(regions[:, 1:])
        out = maps[0].new_zeros(len(regions), maps[0].shape[1], *self.output_size)
        for number, (one, stride) in enumerate(zip(maps, STRIDES, strict=True)):
            chosen = torch.where(level == number)[0]
            values, where = wide(one), regions[chosen]
            cut = roi_align(values, where.to(values.dtype), self.output_size, 1 / stride, self.sampling_ratio, True)
            out = out.index_copy(0, chosen, cut.to(out.dtype))
        return out


def level_of(boxes: Tensor) -> Tensor:
    """``[n, 4]`` -> ``[n]`` int64, the level that each box is looked up on.

    Examples:
        >>> sides = torch.tensor([30.0, 120.0, 900.0])
        >>> level_of(torch.stack([0 * sides, 0 * sides, sides, sides], dim=1)).tolist()
        [0, 1, 3]
    """
    side = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    return (side / _FINEST + 1e-6).log2().floor().clamp(0, len(LEVELS) - 1).long()


class BoxPredictor(FastRCNNPredictor):
    """Torchvision's, whose results are float32 at least.

    Args:
        in_channels: of the box head.
        num_classes: with the background.
    """

    @override
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[n, C]`` -> logits ``[n, classes]`` and changes of boxes ``[n, 4 * classes]``."""
        logits, changes = super().forward(x)
        return wide(logits), wide(changes)


class MaskPredictor(MaskRCNNPredictor):
    """Torchvision's, whose results are float32 at least.

    Args:
        in_channels: of the mask head.
        dim_reduced: channels between its two layers.
        num_classes: with the background.
    """

    @override
    def forward(self, x: Tensor) -> Tensor:
        """``[n, C, side, side]`` -> logits ``[n, classes, 2 * side, 2 * side]``."""
        return wide(super().forward(x))


class Sampled(NamedTuple):
    """The boxes of one image that are learned from."""

    boxes: Tensor  # [n, 4]
    labels: Tensor  # [n] int64, 0 for background
    objects: Tensor  # [n] int64, the object of each; 0 for background


class RegionHeads(RoIHeads):
    """Classes, boxes and masks of proposals; trained on a sample of each image's, a quarter of them matched at most.

    Args:
        box_head: from what is cut out of the levels to channels.
        box_predictor: from these to logits and boxes.
        mask_head: as `box_head`, for masks.
        mask_predictor: from that to masks.
        samples: proposals of an image that are trained on.
    """

    def __init__(
        self,
        box_head: nn.Module,
        box_predictor: nn.Module,
        mask_head: nn.Module,
        mask_predictor: nn.Module,
        samples: int = 512,
    ):
        box = (AlignedPool(7), box_head, box_predictor, 0.5, 0.5, samples, 0.25, None, 0.05, 0.5, 100)
        super().__init__(*box, AlignedPool(14), mask_head, mask_predictor)
        self.box_coder: Any = Coder((10.0, 10.0, 5.0, 5.0))
        self.proposal_matcher: Any = Matcher(0.5, 0.5, least=0.5)

    @override
    def forward(
        self,
        features: Mapping[str, Tensor],
        proposals: list[Tensor],
        image_shapes: Sequence[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """In training no detections, and `loss_classifier`, `loss_box_reg`, `loss_mask`; else detections, no losses.

        Args:
            features: levels ``[B, C, rows, columns]``.
            proposals: of each image ``[n, 4]``.
            image_shapes: height and width of each image, before padding.
            targets: of each image `boxes`, `labels` and `masks`.

        Returns:
            Of each image `boxes`, `labels`, `scores`, and `masks`: ``[n, 1, 28, 28]`` probabilities within the boxes.
        """
        if self.training:
            self.check_targets(targets)
            assert targets is not None
            return [], self._losses(features, self.samples(proposals, targets), targets)
        logits, changes = self._of_boxes(features, proposals)
        found = self.postprocess_detections(logits, changes, proposals, list(image_shapes))
        result = [dict(zip(("boxes", "scores", "labels"), one, strict=True)) for one in zip(*found, strict=True)]
        mask_logits = self._of_masks(features, found[0])
        for one, probabilities in zip(result, maskrcnn_inference(mask_logits, found[2]), strict=True):
            one["masks"] = probabilities
        return result, {}

    def _of_boxes(self, features: Mapping[str, Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.box_predictor(self.box_head(self.box_roi_pool(features, boxes, None)))

    def _of_masks(self, features: Mapping[str, Tensor], boxes: list[Tensor]) -> Tensor:
        return self.mask_predictor(self.mask_head(self.mask_roi_pool(features, boxes, None)))

    def samples(self, proposals: list[Tensor], targets: list[dict[str, Tensor]]) -> list[Sampled]:
        """What is learned from: proposals are matched first, then the objects' own boxes join them."""
        joined = []
        for boxes, target in zip(proposals, targets, strict=True):
            objects = target["boxes"].to(boxes.dtype)
            index: Tensor = self.proposal_matcher(box_iou(objects, boxes))
            own = torch.arange(len(objects), device=index.device)
            index = torch.cat([own, index])
            of_class = target["labels"].to(torch.int64)
            held = index.clamp(min=0)
            labels = of_class[held].masked_fill(index < 0, 0) if len(objects) else index.new_zeros(len(index))
            joined.append(Sampled(torch.cat([objects, boxes]), labels, held))
        chosen = self.subsample([one.labels for one in joined])
        return [Sampled(*(part[rows] for part in one)) for one, rows in zip(joined, chosen, strict=True)]

    def _losses(
        self, features: Mapping[str, Tensor], samples: list[Sampled], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        boxes = [one.boxes for one in samples]
        logits, changes = self._of_boxes(features, boxes)
        labels = torch.cat([one.labels for one in samples])
        count = max(len(labels), 1)
        object_boxes = [
            target["boxes"].to(one.boxes.dtype)[one.objects] if len(target["boxes"]) else one.boxes
            for one, target in zip(samples, targets, strict=True)
        ]
        goals = self.box_coder.encode(object_boxes, boxes)
        positive = torch.where(labels > 0)[0]
        found = changes.reshape(len(changes), -1, 4)[positive, labels[positive]]
        return {
            "loss_classifier": F.cross_entropy(logits, labels, reduction="sum") / count,
            "loss_box_reg": F.l1_loss(found, goals[positive], reduction="sum") / count,
            "loss_mask": self._mask_loss(features, samples, targets),
        }

    def _mask_loss(
        self, features: Mapping[str, Tensor], samples: list[Sampled], targets: list[dict[str, Tensor]]
    ) -> Tensor:
        held = [Sampled(*(part[one.labels > 0] for part in one)) for one in samples]
        logits = self._of_masks(features, [one.boxes for one in held])
        labels = torch.cat([one.labels for one in held])
        if not len(labels):
            return logits.sum() * 0
        side = logits.shape[-1]
        truth = [masks.targets(t["masks"], one.boxes, one.objects, side) for one, t in zip(held, targets, strict=True)]
        found = logits[torch.arange(len(labels), device=labels.device), labels]
        return F.binary_cross_entropy_with_logits(found, torch.cat(truth).to(found.dtype))

    @override
    def postprocess_detections(
        self,
        class_logits: Tensor,
        box_regression: Tensor,
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Boxes ``[n, 4]``, scores and labels of each image, the best first; boxes without extent stay."""
        counts = [len(boxes) for boxes in proposals]
        boxes = self.box_coder.decode(box_regression, proposals).split(counts)
        scores = class_logits.softmax(dim=-1).split(counts)
        found: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        for own, score, shape in zip(boxes, scores, image_shapes, strict=True):
            rows, columns = torch.where(score[:, 1:] > self.score_thresh)  # background comes first
            clipped = clip_boxes_to_image(own[rows, columns + 1], shape)
            sure = score[rows, columns + 1]
            kept = batched_nms(clipped, sure, columns, self.nms_thresh)[: self.detections_per_img]
            for part, values in zip(found, (clipped[kept], sure[kept], columns[kept] + 1), strict=True):
                part.append(values)
        return found

"""The region proposal network, with mmdet's matches and losses."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
from torchvision.ops import box_iou
from typing_extensions import override

from atc.dense.boxes import NEITHER, Anchors, Coder, Matcher, wide


class ProposalHead(RPNHead):
    """Torchvision's, whose results are float32 at least.

    Args:
        in_channels: of the feature maps.
        num_anchors: at every place.
    """

    @override
    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Of each level, ``[B, anchors, rows, columns]`` logits and four times as many changes of boxes."""
        logits, changes = super().forward(x)
        return [wide(one) for one in logits], [wide(one) for one in changes]


class Proposals(RegionProposalNetwork):
    """Proposes boxes that may hold an object; trained on 256 anchors of each image, half of them matched at most.

    Args:
        anchors: makes the anchors.
        head: what says how good an anchor is, and how it has to change.
        most: proposals of an image that are kept; in training twice as many of each level are looked at.
    """

    def __init__(self, anchors: Anchors, head: nn.Module, most: int = 1000):
        before, after = {"training": 2 * most, "testing": most}, {"training": most, "testing": most}
        super().__init__(anchors, head, 0.7, 0.3, 256, 0.5, before, after, 0.7)
        self.box_coder: Any = Coder((1.0, 1.0, 1.0, 1.0))
        self.proposal_matcher: Any = Matcher(0.7, 0.3, least=0.3)
        self.min_size = torch.finfo(torch.float32).tiny  # sides over zero

    @override
    def forward(
        self, images: ImageList, features: Mapping[str, Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals of each image, ``[n, 4]``, and in training `loss_objectness` and `loss_rpn_box_reg`.

        Args:
            images: the batch, with the size of each image in it.
            features: levels ``[B, C, rows, columns]``, fine to coarse.
            targets: of each image its `boxes`, ``[objects, 4]``.
        """
        maps = list(features.values())
        logits, changes = self.head(maps)
        anchors = self.anchor_generator(images, maps)
        counts = [one[0].numel() for one in logits]
        objectness, deltas = concat_box_prediction_layers(logits, changes)
        boxes = self.box_coder.decode(deltas.detach(), anchors).view(len(anchors), -1, 4)
        proposals, _ = self.filter_proposals(boxes, objectness, images.image_sizes, counts)
        if not self.training:
            return proposals, {}
        if targets is None:
            raise ValueError("a detector is trained on targets: call it with images and targets")
        inside = [self._anchors.inside(size, maps) for size in images.image_sizes]
        labels, matched = self._matches(anchors, inside, targets)
        goals = self.box_coder.encode(matched, anchors)
        of_objectness, of_boxes = self.compute_loss(objectness, deltas, labels, goals)
        return proposals, {"loss_objectness": of_objectness, "loss_rpn_box_reg": of_boxes}

    @property
    def _anchors(self) -> Anchors:
        made: Any = self.anchor_generator
        return made

    def _matches(
        self, anchors: list[Tensor], inside: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Of each image, ``[n]`` labels (1 object, 0 background, -1 left out), and the ``[n, 4]`` boxes matched."""
        labels, matched = [], []
        for own, within, target in zip(anchors, inside, targets, strict=True):
            boxes = target["boxes"].to(own.dtype)
            overlaps = box_iou(boxes, own).masked_fill(~within, -1.0)
            index: Tensor = self.proposal_matcher(overlaps)
            label = (index >= 0).to(own.dtype)
            label[(index == NEITHER) | ~within] = -1.0
            labels.append(label)
            matched.append(boxes[index.clamp(min=0)] if len(boxes) else own)  # without objects no box is compared
        return labels, matched

    @override
    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: list[Tensor],
        regression_targets: Any,
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of a sample of anchors, and L1 distance of those matched; both over how many are sampled."""
        positive, negative = (torch.cat(one).bool() for one in self.fg_bg_sampler(labels))
        sampled = positive | negative
        count = sampled.sum().clamp_min(1)
        truth = torch.cat(labels)
        logits = objectness.flatten()[sampled]
        of_objectness = F.binary_cross_entropy_with_logits(logits, truth[sampled].to(logits.dtype), reduction="sum")
        of_boxes = F.l1_loss(pred_bbox_deltas[positive], regression_targets[positive], reduction="sum")
        return of_objectness / count, of_boxes / count

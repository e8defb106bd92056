"""ATC: Agglomerative Token Clustering (Haurum et al., ECCV 2024, arXiv 2409.11923)."""

from typing import Literal

import torch

from atc.core import Assign, Plan, Reducer, Stage, TokenView
from atc.ops.linkage import BACKENDS, METHODS, labels, labels_from_features, usable_backends


class Agglomerative(Reducer):
    """Merges the closest clusters of tokens until `keep` are left; each becomes its size-weighted mean.

    Distance is one minus the cosine of head-mean keys (Sec. 3), computed in float32 at least whatever autocast
    says. Every current token is one point, however many patches it stands for. No parameters; gradients flow
    through the merged tokens, not through the partition. Output order: clusters by their first token.

    Args:
        stage: where the instance works.
        linkage: "single", "complete" or "average" (Eq. 1 to 3); "ward" for ablations.
        linkage_backend: see `atc.ops.linkage`; None chooses by device and size.
        as_released: the authors' code computes distances in the autocast dtype (fp16 there, hence many ties), and
            in its every-block schedules counts CLS among the clusters, so that a block removes t - 1 patches.

    Raises:
        ValueError: no such linkage, or a backend that cannot run on this machine.
    """

    proportional_attention = True
    size_weighted = True
    released_surplus = 1

    def __init__(
        self,
        stage: Stage,
        linkage: Literal["single", "complete", "average", "ward"] = "average",
        linkage_backend: str | None = None,
        as_released: bool = False,
    ):
        super().__init__(stage)
        check_linkage(linkage, linkage_backend)
        self.linkage, self.linkage_backend, self.as_released = linkage, linkage_backend, as_released

    @torch.no_grad()
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The partition of the tokens into `keep` clusters by their keys."""
        # Ward is defined on squared Euclidean distances of the unit keys, which are twice these: the same merges.
        if not self.as_released:
            return Assign(labels_from_features(view.keys, keep, self.linkage, backend=self.linkage_backend), keep)
        keys = view.keys / view.keys.norm(dim=-1, keepdim=True)
        distance = 1 - keys @ keys.transpose(1, 2)
        return Assign(labels(distance, keep, self.linkage, backend=self.linkage_backend), keep)


def check_linkage(linkage: str, linkage_backend: str | None) -> None:
    """Refuse, while the model is built, what would fail at its first image."""
    if linkage not in METHODS:
        raise ValueError(f"linkage={linkage!r} must be one of {', '.join(METHODS)}")
    if linkage_backend is not None and linkage_backend not in (usable := usable_backends()):
        reason = "cannot run on this machine" if linkage_backend in BACKENDS else "is no backend"
        raise ValueError(f"linkage_backend={linkage_backend!r} {reason}: take null, {', '.join(usable)}")

"""ATC: Agglomerative Token Clustering (Haurum et al., ECCV 2024, arXiv 2409.11923)."""

from typing import Literal

import torch
from torch import Tensor

from atc.core import Assign, NotNegative, Plan, Reducer, Stage, TokenView
from atc.ops.linkage import (
    BACKENDS,
    METHODS,
    TreeCut,
    cosine_distance,
    cut_tree,
    euclidean_distance,
    grow_tree,
    labels,
    labels_from_features,
    usable_backends,
)


class OneShot(Assign):
    """The clusters of one stage, with the tree that later stages cut lower.

    Args:
        cut: the tree, and where it is cut.
        keep: clusters that are left.
    """

    def __init__(self, cut: TreeCut, keep: int):
        super().__init__(cut.labels, keep)
        self.cut = cut


class Agglomerative(Reducer):
    """Merges the closest clusters of tokens until `keep` are left; each becomes its size-weighted mean.

    Distance is one minus the cosine of head-mean keys (Sec. 3), computed in float32 at least whatever autocast
    says. Every current token is one point, however many patches it stands for. No parameters; gradients flow
    through the merged tokens, not through the partition. Output order: clusters by their first token.

    Args:
        stage: where the instance works.
        linkage: "single", "complete" or "average" (Eq. 1 to 3); "ward" for ablations, of squared Euclidean distances:
            with "cosine" those of features scaled to length 1, which are twice one minus the cosine.
        linkage_backend: see `atc.ops.linkage`; None chooses by device and size.
        feature: for ablations: what is compared: head-mean "keys", "queries" or "values" of the block, its "input"
            before the norm, or its "attention_output" behind the projection, before the residual.
        distance: for ablations: "cosine" or "euclidean", of the features.
        one_shot: for ablations: the first stage makes the whole tree, and later ones cut it lower.
        size_bias: for ablations: what log(size) is multiplied by in attention; 0 leaves sizes out of it.
        as_released: the authors' code computes distances in the autocast dtype (fp16 there, hence many ties), and
            in its every-block schedules counts CLS among the clusters, so that a block removes t - 1 patches.

    Raises:
        ValueError: no such linkage, a backend that cannot run on this machine, or an ablation with `as_released`.
    """

    proportional_attention = True
    size_weighted = True
    released_surplus = 1

    def __init__(
        self,
        stage: Stage,
        linkage: Literal["single", "complete", "average", "ward"] = "average",
        linkage_backend: str | None = None,
        feature: Literal["keys", "queries", "values", "input", "attention_output"] = "keys",
        distance: Literal["cosine", "euclidean"] = "cosine",
        one_shot: bool = False,
        size_bias: NotNegative = 1.0,
        as_released: bool = False,
    ):
        super().__init__(stage)
        check_linkage(linkage, linkage_backend)
        if as_released and (feature != "keys" or distance != "cosine" or one_shot):
            raise ValueError(
                f"feature={feature} distance={distance} one_shot={one_shot} with as_released=True: the authors' code "
                f"has keys, cosine and no one-shot clustering; leave as_released out"
            )
        self.linkage, self.linkage_backend, self.as_released = linkage, linkage_backend, as_released
        self.feature, self.distance, self.one_shot, self.size_bias = feature, distance, one_shot, size_bias
        self.needs = frozenset() if feature == "keys" else frozenset({feature})

    @torch.no_grad()
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The partition of the tokens into `keep` clusters by their features."""
        if self.one_shot:
            return OneShot(self._cut(view, keep), keep)
        if self.as_released:
            keys = view.keys / view.keys.norm(dim=-1, keepdim=True)
            distance = 1 - keys @ keys.transpose(1, 2)
        elif self.distance == "euclidean":
            distance = self._distance(view)
        else:  # half of the squared Euclidean distances of unit vectors: Ward makes the same merges
            feature = features_of(view, self.feature)
            return Assign(labels_from_features(feature, keep, self.linkage, backend=self.linkage_backend), keep)
        return Assign(labels(distance, keep, self.linkage, backend=self.linkage_backend), keep)

    def _cut(self, view: TokenView, keep: int) -> TreeCut:
        if isinstance(view.plan, OneShot):
            return cut_tree(view.plan.cut, keep)
        return grow_tree(self._distance(view), keep, self.linkage, backend=self.linkage_backend)

    def _distance(self, view: TokenView) -> Tensor:
        feature = features_of(view, self.feature)
        if self.distance == "cosine":
            return cosine_distance(feature)
        distance = euclidean_distance(feature)
        return distance.square() if self.linkage == "ward" else distance


def features_of(view: TokenView, name: str) -> Tensor:
    """[B, N, D] what tokens are compared by; the mean over heads where there are several."""
    found: Tensor | None = getattr(view, name)
    if found is None:
        raise ValueError(f"feature={name}: these tokens come without; take keys")
    return found.mean(dim=1) if found.ndim == 4 else found


def check_linkage(linkage: str, linkage_backend: str | None) -> None:
    """Refuse, while the model is built, what would fail at its first image."""
    if linkage not in METHODS:
        raise ValueError(f"linkage={linkage!r} must be one of {', '.join(METHODS)}")
    if linkage_backend is not None and linkage_backend not in (usable := usable_backends()):
        reason = "cannot run on this machine" if linkage_backend in BACKENDS else "is no backend"
        raise ValueError(f"linkage_backend={linkage_backend!r} {reason}: take null, {', '.join(usable)}")

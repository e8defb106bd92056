"""DHTM: Dynamic Hierarchical Token Merging (Haroun et al., VISAPP 2025), after the abstract."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from atc.core import Assign, Count, Plan, Reducer, Stage, TokenView
from atc.ops.linkage import (
    BACKENDS_AMONG,
    cosine_distance,
    labels_among_neighbours,
    labels_from_features,
    usable_backends,
)


class DHTM(Reducer):
    """Merges the closest clusters of tokens among those that lie next to each other, until `keep` are left.

    After the abstract, not validated against the paper's numbers: only the abstract is public. It says that in each
    layer a fixed number of neighbouring pairs is merged, as in agglomerative clustering, and that neighbours are all
    tokens close in space; features, distance, linkage and the radius are ours, as for ATC.

    Two tokens are neighbours if some patch of one lies within the neighbourhood of some patch of the other. That is
    read from the map of source patches in every block, so regions grow and stay connected. Distance is one minus the
    cosine of head-mean keys; a cluster's distances are averages (or the linkage asked for) over the tokens of this
    block, whatever their sizes. A merged token is the size-weighted mean; clusters are in the order of their first
    token. Where pruning left no two neighbours, the closest two of all tokens merge. With `neighbourhood=None` and
    `update="sequential"` it is ATC.

    Args:
        stage: where the instance works.
        neighbourhood: patches between which there may be a merge: how far apart at most, in rows and columns (1 is
            the 8 around a patch), or "edge" for the 4 that share an edge; None: all.
        update: "sequential": one merge after another, of clusters; "matching": the closest pairs of tokens, none of
            which is in two pairs.
        linkage: "single", "complete" or "average".
        linkage_backend: "reference", "torch" or "cpu"; None chooses by device. See `atc.ops.linkage.among`.

    Raises:
        ValueError: a backend that cannot run on this machine. In a forward pass, with "matching": fewer pairs of
            neighbours than are to be merged; on a GPU that is waited for.
    """

    proportional_attention = True
    size_weighted = True

    def __init__(
        self,
        stage: Stage,
        neighbourhood: Count | Literal["edge"] | None = 1,
        update: Literal["sequential", "matching"] = "sequential",
        linkage: Literal["single", "complete", "average"] = "average",
        linkage_backend: str | None = None,
    ):
        super().__init__(stage)
        usable = [name for name in BACKENDS_AMONG if name in usable_backends()]
        if linkage_backend is not None and linkage_backend not in usable:
            raise ValueError(
                f"linkage_backend={linkage_backend!r} cannot cluster neighbours here: take null, {', '.join(usable)}"
            )
        self.neighbourhood, self.update = neighbourhood, update
        self.linkage, self.linkage_backend = linkage, linkage_backend

    @torch.no_grad()
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The partition of the tokens into `keep` clusters of neighbours by their keys."""
        if self.neighbourhood is None and self.update == "sequential":
            return Assign(labels_from_features(view.keys, keep, self.linkage, backend=self.linkage_backend), keep)
        distance = cosine_distance(view.keys)
        if self.neighbourhood is None:
            near = torch.ones_like(distance, dtype=torch.bool)
        else:
            near = neighbours(view.source, view.grid, distance.shape[1], self.neighbourhood)
        labels = labels_among_neighbours(
            distance, near, keep, self.linkage, update=self.update, backend=self.linkage_backend
        )
        return Assign(labels, keep)


def neighbours(source: Tensor, grid: tuple[int, int], tokens: int, neighbourhood: int | str) -> Tensor:
    """[B, N0] token of each source patch -> [B, N, N] bool, which tokens have patches next to each other."""
    radius = 1 if neighbourhood == "edge" else int(neighbourhood)
    width, outside = 2 * radius + 1, tokens  # a token more, for what is pruned and what is no patch
    held = torch.where(source < 0, outside, source).unflatten(1, grid)
    around = F.pad(held, (radius,) * 4, value=outside).unfold(1, width, 1).unfold(2, width, 1)
    if neighbourhood == "edge":
        around = torch.stack([around[..., 0, 1], around[..., 1, 0], around[..., 1, 2], around[..., 2, 1]], dim=-1)
    else:
        around = around.flatten(3)
    pairs = (held.unsqueeze(-1) * (tokens + 1) + around).flatten(1)
    near = torch.zeros(len(source), (tokens + 1) ** 2, dtype=torch.bool, device=source.device)
    return near.scatter(1, pairs, True).unflatten(1, (tokens + 1, tokens + 1))[:, :tokens, :tokens]

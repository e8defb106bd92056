"""K-Medoids (Haurum et al., ICCVW 2023, arXiv 2308.04657): clusters, of which the medoids are kept."""

import torch
from torch import Tensor

from atc.core import Plan, Reducer, Select, Stage, TokenView, Whole
from atc.ops.exporting import pairwise_cdist
from atc.ops.scale import power_of_two


class KMedoids(Reducer):
    """Clusters the tokens entering the block and keeps the medoids' own features.

    Distances are Euclidean; the start is the `keep` tokens of largest weight. The weight is the CLS token's attention
    in the previous block (mean attention received where there is no CLS token), and a medoid minimises the weighted
    distance to the members of its cluster.

    Args:
        stage: where the instance works.
        iterations: rounds of assignment and update.
        equal_weight: weights are 1, the start is spread out: greedily the token with the largest distance to any
            centre so far, from one random token (as_released: NumPy's global generator, one draw a batch) or, by
            default, from the token with the smallest distance to all others and with farthest-first steps.
        as_released: the weight is the attention received from all queries, summed over heads, and a medoid minimises
            its *own* weight times its distance to *all* tokens, which favours unattended tokens.
    """

    site = "before_block"
    needs: frozenset[str] = frozenset({"attn"})
    released_arguments = {"equal_weight": "equal_weight", "cluster_iters": "iterations"}

    def __init__(self, stage: Stage, iterations: Whole = 3, equal_weight: bool = False, as_released: bool = False):
        super().__init__(stage)
        self.iterations, self.equal_weight, self.as_released = iterations, equal_weight, as_released
        if as_released:
            self.exceptions = {"distinct_outputs": "the authors' medoid of an empty cluster is token 0, time and again"}
        if equal_weight:
            self.needs = frozenset()  # no attention is needed, hence no previous block

    def _weight(self, view: TokenView) -> Tensor:
        """[B, N]: how much each token counts."""
        assert view.attn is not None
        num_tokens = view.x.shape[1]
        prefix = view.attn.shape[-1] - num_tokens
        to_patches = view.attn[..., prefix:].sum(dim=1)
        if self.as_released or prefix == 0:
            return to_patches.sum(dim=1)
        return to_patches[:, 0]

    def _spread(self, distance: Tensor, keep: int) -> Tensor:
        """[B, K] starting medoids that lie far apart."""
        if self.as_released:
            import numpy as np

            if self.noise is None:
                if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
                    raise ValueError("as_released draws from NumPy, which a CUDA graph cannot repeat")
                first = int(np.random.randint(0, distance.shape[1]))  # noqa: NPY002 (the authors' generator)
            else:
                first = int(self.noise)
            medoids = [torch.full_like(distance[:, 0, 0], first, dtype=torch.int64)]
        else:
            medoids = [distance.sum(dim=2).argmin(dim=1)]
        reach = distance.gather(1, medoids[0][:, None, None].expand(-1, 1, distance.shape[2])).squeeze(1)
        for _ in range(keep - 1):
            medoids.append(reach.scatter(1, torch.stack(medoids, dim=1), -1.0).argmax(dim=1))
            row = distance.gather(1, medoids[-1][:, None, None].expand(-1, 1, distance.shape[2])).squeeze(1)
            reach = torch.maximum(reach, row) if self.as_released else torch.minimum(reach, row)
        return torch.stack(medoids, dim=1)

    @torch.no_grad()
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The `keep` medoids, with the cluster of every token for its size."""
        x = view.x if view.x.dtype == torch.float64 else view.x.float()
        with torch.autocast(x.device.type, enabled=False):
            x = x * power_of_two(x, (1, 2))  # medoids are the same on every scale, squares are not representable on all
            distance = pairwise_cdist(x)
            if self.equal_weight:
                weight = torch.ones_like(distance[:, 0])
                medoids = self._spread(distance, keep)
            else:
                weight = self._weight(view).to(distance.dtype)
                medoids = weight.topk(keep, dim=1).indices
            labels = self._nearest(distance, medoids)
            for _ in range(self.iterations):
                medoids = self._update(distance, weight, labels, keep)
                labels = self._nearest(distance, medoids)
        return Select(medoids, num_in=x.shape[1], labels=labels)

    def _nearest(self, distance: Tensor, medoids: Tensor) -> Tensor:
        """[B, N] the nearest medoid of each token, the first of equals; by default a medoid is its own."""
        labels = distance.gather(2, medoids[:, None, :].expand(-1, distance.shape[1], -1)).argmin(dim=2)
        if self.as_released:
            return labels  # a duplicate of an earlier medoid is left with an empty cluster
        return labels.scatter(1, medoids, torch.arange(medoids.shape[1], device=labels.device).expand_as(medoids))

    def _update(self, distance: Tensor, weight: Tensor, labels: Tensor, keep: int) -> Tensor:
        """[B, K] the member of each cluster with the least cost; token 0 for an empty one (released only)."""
        if self.as_released:
            cost = weight * distance.sum(dim=2)
        else:
            together = labels[:, :, None] == labels[:, None, :]
            cost = (distance * together) @ weight.unsqueeze(-1)
            cost = cost.squeeze(-1)
        slots = torch.arange(keep, device=labels.device)
        outside = labels[:, None, :] != slots[None, :, None]
        return cost[:, None, :].masked_fill(outside, torch.inf).argmin(dim=2)

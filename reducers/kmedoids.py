"""K-Medoids (Haurum et al., ICCVW 2023, arXiv 2308.04657): clusters, of which the medoids are kept."""

import torch
from torch import Tensor

from atc.core import Plan, Reducer, Select, Stage, TokenView, Whole
from atc.ops.centres import find_medoids, plain, spread_out
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
    released_arguments = {"equal_weight": "equal_weight", "cluster_iters": "iterations"}

    def __init__(self, stage: Stage, iterations: Whole = 3, equal_weight: bool = False, as_released: bool = False):
        super().__init__(stage)
        self.iterations, self.equal_weight, self.as_released = iterations, equal_weight, as_released
        # The CLS token's row alone leaves the attention fused.
        self.needs = frozenset({"cls_attn" if stage.has_cls and not as_released else "attn"})
        if as_released:
            self.exceptions = {"distinct_outputs": "the authors' medoid of an empty cluster is token 0, time and again"}
        if equal_weight:
            self.needs = frozenset()  # no attention is needed, hence no previous block

    def _weight(self, view: TokenView) -> Tensor:
        """[B, N]: how much each token counts."""
        if "cls_attn" in self.needs:
            assert view.cls_attn is not None
            return view.cls_attn.sum(dim=1)
        assert view.attn is not None
        to_patches = view.attn[..., view.attn.shape[-1] - view.x.shape[1] :]
        return to_patches.sum(dim=1).sum(dim=1)  # over heads first, as the authors' code does

    def _start(self, distance: Tensor, keep: int) -> Tensor:
        """[B, K] starting medoids that lie far apart, for equal weights."""
        if not self.as_released:
            return spread_out(distance, distance.sum(dim=2).argmin(dim=1), keep)
        import numpy as np

        if self.noise is not None:
            first = int(self.noise)
        elif torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            raise ValueError("as_released draws from NumPy, which a CUDA graph cannot repeat")
        else:
            first = int(np.random.randint(0, distance.shape[1]))  # noqa: NPY002 (the authors' generator)
        everywhere = torch.full_like(distance[:, 0, 0], first, dtype=torch.int64)
        return plain.spread_out(distance, everywhere, keep, to_nearest=False)

    @torch.no_grad()
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The `keep` medoids, with the cluster of every token for its size."""
        x = view.x if view.x.dtype == torch.float64 else view.x.float()
        with torch.autocast(x.device.type, enabled=False):
            x = x * power_of_two(x, (1, 2))  # medoids are the same on every scale, squares are not representable on all
            distance = pairwise_cdist(x)
            if self.equal_weight:
                weight = torch.ones_like(distance[:, 0])
                start = self._start(distance, keep)
            else:
                weight = self._weight(view).to(distance.dtype)
                start = weight.topk(keep, dim=1).indices
            find = self._released_medoids if self.as_released else find_medoids
            medoids, labels = find(distance, weight, start, self.iterations)
        return Select(medoids, num_in=x.shape[1], labels=labels)

    @staticmethod
    def _released_medoids(distance: Tensor, weight: Tensor, start: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
        """A duplicate of an earlier medoid is left with an empty cluster, and that one's medoid becomes token 0."""
        medoids, labels = start, plain.nearest(distance, start)
        cost = weight * distance.sum(dim=2)
        for _ in range(rounds):
            medoids = plain.cheapest_members(cost, labels, start.shape[1])
            labels = plain.nearest(distance, medoids)
        return medoids, labels

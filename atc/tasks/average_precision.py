"""Mean average precision as the papers' code computes it."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


def mean_average_precision(scores: Tensor, targets: Tensor) -> Tensor:
    """Macro mAP in 0..1 of scores [n, K] and targets [n, K] in {0, 1}.

    Per label: the precision at the rank of each positive, averaged. A label without positives counts as 0. Among
    equal scores positives come last, so that the result does not depend on the order of the pictures (the
    released code leaves it to an unstable sort).
    """
    # Two stable sorts: by target, then by score.
    by_target = targets.argsort(dim=0, stable=True)
    by_score = scores.gather(0, by_target).argsort(dim=0, descending=True, stable=True)
    hits = targets.gather(0, by_target.gather(0, by_score)).double()
    ranks = torch.arange(1, len(hits) + 1, device=hits.device, dtype=hits.dtype)[:, None]
    precision = hits.cumsum(0) / ranks
    return ((precision * hits).sum(0) / (hits.sum(0) + 1e-8)).mean()


class MeanAveragePrecision(Metric):
    """Macro mAP over all pictures of all processes: gathered first, then ranked; see mean_average_precision.

    torchmetrics' MultilabelAveragePrecision differs where scores are equal (they share a rank there) and, in some
    versions, leaves labels without positives out of the mean.
    """

    higher_is_better = True
    full_state_update = False
    is_differentiable = False
    scores: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, targets: Tensor) -> None:
        """Add pictures: scores [B, K] (logits do, and tie less than probabilities), targets [B, K] in {0, 1}."""
        if scores.shape != targets.shape or scores.ndim != 2:
            raise ValueError(f"scores {tuple(scores.shape)} and targets {tuple(targets.shape)} are not both [B, K]")
        self.scores.append(scores.detach())
        self.targets.append(targets.to(torch.uint8))

    def compute(self) -> Tensor:
        """The mAP of everything added since the last reset."""
        return mean_average_precision(dim_zero_cat(self.scores), dim_zero_cat(self.targets)).float()

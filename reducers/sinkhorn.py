"""Sinkhorn clustering (Haurum et al., ICCVW 2023, arXiv 2308.04657): soft clusters by optimal transport."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atc.core import Count, Mix, Plan, Positive, Reducer, Stage, TokenView
from atc.core.distillation import exact
from atc.core.learned import check_learned_count


class Sinkhorn(Reducer):
    """Learned centres share the tokens out among them, by entropic transport between unit vectors.

    Every token gives all of itself, and every centre gets about N / K tokens. An output is the sum of what its centre
    gets of the unit vectors of the tokens, not a mean. One centre is learned for each token that the stage keeps.

    Args:
        stage: where the instance works.
        iterations: of Sinkhorn's algorithm.
        eps: of the entropic term; similarities are divided by it.
        as_released: every forward in training overwrites the centres by their unit vectors, and their gradient is that
            of free vectors there. By default they keep their length, which the gradient takes into account. (The
            authors overwrite them in evaluation, too, which changes no result.)
    """

    site = "before_block"
    soft = True
    needs_training = True
    released_arguments = {"cluster_iters": "iterations", "sinkhorn_eps": "eps"}
    released_names = {"cluster_layers.{stage}.v": "centres"}

    def __init__(self, stage: Stage, iterations: Count = 3, eps: Positive = 1.0, as_released: bool = False):
        super().__init__(stage)
        self.iterations, self.eps, self.as_released = iterations, eps, as_released
        self.centres = nn.Parameter(torch.randn(stage.keep, stage.dim))

    def _unit_centres(self) -> Tensor:
        """[K, C], float32 at least."""
        unit = F.normalize(exact(self.centres), dim=1)
        if not (self.as_released and self.training):
            return unit
        with torch.no_grad():
            self.centres.copy_(unit)
        return exact(self.centres.clone())  # a copy, so that a second forward spoils no gradient of the first

    def forward(self, view: TokenView, keep: int) -> Plan:
        """Weights ``[B, K, N]`` that sum to one over the centres."""
        check_learned_count(self, keep)
        tokens = F.normalize(exact(view.x), dim=2)
        shares = exact(self._unit_centres() @ tokens.transpose(1, 2)) / self.eps
        # Both marginals are even. A softmax takes up what an earlier one left along the same dimension, and every
        # constant, so that the scalings need no tensors of their own.
        for _ in range(self.iterations):
            shares = shares.log_softmax(dim=2).log_softmax(dim=1)
        return Mix(shares.exp(), tokens=tokens)

"""PatchMerger (Renggli et al., 2022, arXiv 2202.12015), as used in arXiv 2308.04657."""

import torch
from torch import nn

from atc.core import Mix, Plan, Reducer, Stage, TokenView
from atc.core.learned import check_learned_count


class PatchMerger(Reducer):
    """Learned queries attend to the normalised tokens; each output is a mean of these.

    One query is learned for each token that the stage keeps.

    Args:
        stage: where the instance works.
    """

    site = "before_block"
    soft = True
    needs_training = True
    released_method = "patchmerger"
    released_names = {"cluster_layers.{stage}.queries": "queries", "cluster_layers.{stage}.norm.": "norm."}

    def __init__(self, stage: Stage):
        super().__init__(stage)
        self.queries = nn.Parameter(torch.randn(stage.keep, stage.dim))
        self.norm = nn.LayerNorm(stage.dim)

    def forward(self, view: TokenView, keep: int) -> Plan:
        """Weights ``[B, K, N]`` that sum to one over the tokens."""
        check_learned_count(self, keep)
        tokens = self.norm(view.x)
        return Mix((self.queries @ tokens.transpose(1, 2)).softmax(dim=2), tokens=tokens)

"""SiT (Zong et al., ECCV 2022, arXiv 2111.12624): token slimming, as used in arXiv 2308.04657."""

from typing import Any

import torch
from torch import nn

from atc.core import Mix, Plan, Reducer, Stage, TokenView
from atc.core.learned import check_learned_count, start_linear


class SiT(Reducer):
    """Each output token is a mean of all tokens, with weights that a small network gives to each of them.

    The weights of an output are a softmax over the tokens. One output is learned for each token that the stage keeps.

    Args:
        stage: where the instance works.
        as_released: the last layer has a bias, which has no effect: the softmax runs over tokens, for all of which it
            is the same. By default there is none, and one among weights that are loaded is left out.
    """

    site = "before_block"
    soft = True
    needs_training = True
    released_names = {"cluster_layers.{stage}.weight.": "score.", "cluster_layers.{stage}.scale": "scale"}

    def __init__(self, stage: Stage, as_released: bool = False):
        super().__init__(stage)
        self.as_released = as_released
        self.scale = nn.Parameter(torch.ones(1, 1, 1))
        self.score = nn.Sequential(
            nn.LayerNorm(stage.dim),
            nn.Linear(stage.dim, stage.dim // 2),
            nn.GELU(),
            nn.Linear(stage.dim // 2, stage.keep, bias=as_released),
        )
        start_linear(self.score)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if not self.as_released:
            state_dict.pop(f"{prefix}score.3.bias", None)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, view: TokenView, keep: int) -> Plan:
        """Weights ``[B, K, N]`` that sum to one over the tokens."""
        check_learned_count(self, keep)
        return Mix((self.scale * self.score(view.x)).softmax(dim=1).transpose(1, 2))

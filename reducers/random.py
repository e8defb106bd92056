"""Random pruning, the floor every method has to beat."""

import torch
from torch import Tensor

from atc.core import Plan, Reducer, Seed, Select, Stage, TokenView

_PRIME = 2_147_483_647  # 2**31 - 1, so that products of two residues stay inside int64


class RandomPruning(Reducer):
    """Keeps `keep` tokens at random, in their original order.

    Training draws anew for every image and step. Evaluation takes one fixed set of positions, a function of
    `seed`, the block and the position alone, so that results repeat and no image depends on its batch.

    Args:
        stage: where the instance works.
        seed: of the positions in evaluation.
    """

    def __init__(self, stage: Stage, seed: Seed = 0):
        super().__init__(stage)
        self.seed = seed

    def _fixed_scores(self, num_tokens: int, device: torch.device) -> Tensor:
        """[N] float64: a few rounds of a multiplicative hash of the position; no generator, so it compiles."""
        value = torch.arange(1, num_tokens + 1, device=device) + 7919 * self.stage.block + 104_729 * self.seed
        value = value % _PRIME
        for factor in (48_271, 69_621, 16_807):
            value = (value * factor + 12_345) % _PRIME
            value = (value * value + factor) % _PRIME
        return value.double()

    def forward(self, view: TokenView, keep: int) -> Plan:
        """A random choice of `keep` tokens."""
        batch, num_tokens = view.x.shape[:2]
        if self.training:
            scores = self.draw((batch, num_tokens), view.size.float())
        else:
            scores = self._fixed_scores(num_tokens, view.x.device).expand(batch, -1)
        return Select(scores.topk(keep, dim=1).indices.sort(dim=1).values, num_in=num_tokens)

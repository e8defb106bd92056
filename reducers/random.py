"""Random pruning: the floor that every method has to beat."""

import functools

import torch
from torch import Tensor

from atc.core import Plan, Reducer, Seed, Select, Stage, TokenView
from atc.ops.exporting import may_keep_constants

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

    def forward(self, view: TokenView, keep: int) -> Plan:
        """A random choice of `keep` tokens."""
        batch, num_tokens = view.size.shape
        if self.training:
            scores = self.draw((batch, num_tokens), view.size.float())
            return Select(scores.topk(keep, dim=1).indices.sort(dim=1).values, num_in=num_tokens)
        fixed = _known_positions if may_keep_constants(view.size) else _fixed_positions
        kept = fixed(self.seed, self.stage.block, num_tokens, keep, view.size.device)
        return Select(kept.expand(batch, -1), num_in=num_tokens)


def _fixed_positions(seed: int, block: int, num_tokens: int, keep: int, device: torch.device) -> Tensor:
    """[1, K] int64, ascending: a few rounds of a multiplicative hash of the position; no generator, so it compiles."""
    with torch.inference_mode(False):  # tensors of that mode cannot be saved for a gradient
        value = torch.arange(1, num_tokens + 1, device=device) + 7919 * block + 104_729 * seed
        value = value % _PRIME
        for factor in (48_271, 69_621, 16_807):
            value = (value * factor + 12_345) % _PRIME
            value = (value * value + factor) % _PRIME
        return value.double().unsqueeze(0).topk(keep, dim=1).indices.sort(dim=1).values


_known_positions = functools.lru_cache(maxsize=256)(_fixed_positions)

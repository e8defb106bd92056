"""ToMe (Bolya et al., ICLR 2023, arXiv 2210.09461): bipartite soft matching."""

import torch

from atc.core import Assign, Plan, Reducer, Stage, TokenView
from atc.ops.scale import unit_vectors


class ToMe(Reducer):
    """Splits the tokens alternately into A and B, and merges the A tokens most similar to some B token into it.

    Similarity is the cosine of head-mean keys. A holds the even positions (0, 2, ...) of the sequence with its
    prefix, as in the authors' code: with one CLS token in front, which is the first of A and never merges, those are
    the patches at odd positions, and without one those at even positions. Output order: the unmerged of A, then B. A
    step removes at most half of the tokens.

    Args:
        stage: where the instance works.
        as_released: without a token in front, the authors' code leaves the unmerged of A in descending order of their
            similarity instead of in that of the sequence; the next stage, which splits by position, then differs.
    """

    proportional_attention = True
    size_weighted = True

    def __init__(self, stage: Stage, as_released: bool = False):
        super().__init__(stage)
        self.as_released = as_released

    @classmethod
    def least(cls, num_tokens: int) -> int:
        """All of B: half of `num_tokens`, rounded up."""
        return num_tokens - num_tokens // 2

    def forward(self, view: TokenView, keep: int) -> Plan:
        """The merges of A into B with the highest similarity that leave `keep` tokens."""
        keys = unit_vectors(view.keys)
        first = view.prefix % 2  # of A
        a, b = keys[:, first::2], keys[:, 1 - first :: 2]
        num_a, num_b = a.shape[1], b.shape[1]
        best, partner = (a @ b.transpose(1, 2)).max(dim=-1)
        order = best.argsort(dim=-1, descending=True)
        removed = num_a + num_b - keep
        merged, unmerged = order[:, :removed], order[:, removed:]
        if view.prefix or not self.as_released:
            unmerged = unmerged.sort(dim=-1).values

        num_unmerged = num_a - removed
        labels_b = torch.arange(num_unmerged, keep, device=keys.device).expand(keys.shape[0], -1)
        slots_a = torch.arange(num_unmerged, device=keys.device).expand(keys.shape[0], -1)
        labels_a = torch.zeros_like(order)
        labels_a = labels_a.scatter(1, unmerged, slots_a)
        labels_a = labels_a.scatter(1, merged, num_unmerged + partner.gather(1, merged))

        labels = torch.zeros(keys.shape[:2], dtype=torch.int64, device=keys.device)
        labels[:, 1 - first :: 2] = labels_b
        labels[:, first::2] = labels_a
        return Assign(labels, keep)

"""ToMe (Bolya et al., ICLR 2023, arXiv 2210.09461): bipartite soft matching."""

from atc.core import Assign, Plan, Reducer, Stage, TokenView
from atc.ops.matching import bipartite_labels


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
        ranked = self.as_released and not view.prefix
        return Assign(bipartite_labels(view.keys, keep, view.prefix % 2, ranked=ranked), keep)

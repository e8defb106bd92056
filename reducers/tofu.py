"""ToFu (Kim et al., WACV 2024, arXiv 2312.01026): ToMe's matching, pruned early and merged with its norm late."""

import torch
from torch import Tensor
from typing_extensions import override

from atc.core import Assign, Plan, Reducer, Select, Stage, TokenView
from atc.ops.matching import bipartite_labels


class NormPreservingMean(Assign):
    """MLERP: the mean of a group, as long as the longest of its members.

    Args:
        labels: as in `Assign`.
        num_out: as in `Assign`.
        receiver: ``[B, K]`` int64, the token whose norm stands for the mean's, as in the code that is around; None: the
            norm of the mean itself.
    """

    def __init__(self, labels: Tensor, num_out: int, receiver: Tensor | None = None):
        super().__init__(labels, num_out)
        self.receiver = receiver

    @override
    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        mean = super().reduce(x, size)
        norm = torch.linalg.vector_norm(x, dim=-1, dtype=torch.promote_types(x.dtype, torch.float32))
        longest = norm.new_zeros(mean.shape[:2]).scatter_reduce(1, self.labels, norm, "amax")
        if self.receiver is None:
            length = torch.linalg.vector_norm(mean, dim=-1, dtype=norm.dtype)
        else:
            length = norm.gather(1, self.receiver)
        return (mean * (longest / length.clamp_min(torch.finfo(norm.dtype).tiny)).unsqueeze(-1)).to(x.dtype)


class ToFu(Reducer):
    """Chooses tokens as ToMe does; removes them in early blocks, and merges them by MLERP in late ones.

    Early blocks are those that respond nonlinearly to tokens in between others. MLERP is the mean of the tokens, each
    counted once, at the largest of their norms. A step removes at most half of the tokens.

    Args:
        stage: where the instance works.
        merge_from: the share of blocks in which chosen tokens are removed: blocks up to ``merge_from * depth + 1``.
        as_released: as in the code that is around (not the authors'), the mean is not made a unit vector first: it is
            divided by the norm of the token that received the others.
    """

    def __init__(self, stage: Stage, merge_from: float = 0.5, as_released: bool = False):
        super().__init__(stage)
        self.merges = stage.block - 1 > int(merge_from * max(stage.depth, stage.block))
        self.as_released = as_released

    @classmethod
    def least(cls, num_tokens: int) -> int:
        """Half of `num_tokens`, rounded up."""
        return num_tokens - num_tokens // 2

    def forward(self, view: TokenView, keep: int) -> Plan:
        """`keep` tokens: the sources least similar to a destination, then the destinations."""
        first = view.prefix % 2
        labels = bipartite_labels(view.keys, keep, first)
        if self.merges and not self.as_released:
            return NormPreservingMean(labels, keep)
        tokens = labels.shape[1]
        place = torch.arange(tokens, device=labels.device).expand_as(labels)
        gone = (place % 2 == first) & (labels >= keep - (tokens + first) // 2)
        kept = labels.new_zeros(len(labels), keep + 1).scatter(1, labels.masked_fill(gone, keep), place)[:, :keep]
        return NormPreservingMean(labels, keep, kept) if self.merges else Select(kept, tokens)

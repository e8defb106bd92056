"""DiffRate (Chen et al., ICCV 2023, arXiv 2305.17997): prunes, then merges, at counts found for each block."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from typing_extensions import override

from atc.core import Assign, Plan, Reducer, Stage, TokenView
from atc.ops.scale import unit_vectors
from atc.ops.segment import group_sum


class _ByResemblance(Assign):
    """Groups whose sizes add up by how much each member resembles its receiver.

    Args:
        labels: as in `Assign`.
        num_out: as in `Assign`.
        counts: ``[B, N]`` floating, the share of a token's size that its group gets.
    """

    def __init__(self, labels: Tensor, num_out: int, counts: Tensor):
        super().__init__(labels, num_out)
        self.counts = counts

    @override
    def reduce_size(self, size: Tensor) -> Tensor:
        return group_sum(size * self.counts.to(size.dtype), self.labels, self.num_out)


class DiffRate(Reducer):
    """Removes the patches of least CLS attention, then merges the least of the others into the most similar of the rest.

    Patches are ranked by head-mean CLS attention. The first p stay; of those, all behind the first `keep` join the patch
    among the first `keep` with the most similar token (cosine behind the attention). A receiver becomes the plain mean.
    A patch that joins adds its size times its similarity to the receiver's, so that sizes are no whole numbers.

    The rates of the paper are learned once for a model with its weights as they are: `conf/experiment` has two of the
    published schedules. Its counts include the CLS token; these do not.

    Args:
        stage: where the instance works.
        p: patches that are not removed, one count for each block that reduces, or for each block of the backbone; None:
            half of the patches that go are removed, half merge (ours).
    """

    needs = frozenset({"cls_attn"})
    proportional_attention = True

    def __init__(self, stage: Stage, p: Sequence[Annotated[int, "[1, inf)"]] | None = None):
        super().__init__(stage)
        if p is not None and not stage.number <= len(p):
            raise ValueError(f"p must have a count for each block that reduces, {stage.number} at least, got {len(p)}")
        self.p = None if p is None else p[(stage.block if len(p) == stage.depth else stage.number) - 1]

    @torch.no_grad()
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The `keep` most attended patches, with those merged into them that rank behind."""
        assert view.cls_attn is not None
        tokens = view.x.shape[1]
        left = (tokens + keep) // 2 if self.p is None else min(max(self.p, keep), tokens)
        rank = view.cls_attn.mean(1).argsort(dim=1, descending=True, stable=True)
        receivers, joining, gone = rank.split([keep, left - keep, tokens - left], dim=1)
        unit = unit_vectors(view.x if view.x.dtype == torch.float64 else view.x.float())
        image = torch.arange(len(unit), device=unit.device)[:, None]
        similar, partner = (unit[image, joining] @ unit[image, receivers].mT).max(dim=2)
        labels = torch.full_like(rank, -1)
        labels[image, receivers] = torch.arange(keep, device=rank.device)
        labels[image, joining] = partner
        counts = unit.new_ones(rank.shape)
        counts[image, joining] = similar
        return _ByResemblance(labels, keep, counts)

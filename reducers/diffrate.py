"""DiffRate (Chen et al., ICCV 2023, arXiv 2305.17997): prunes, then merges, at counts found for each block."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from typing_extensions import override

from atc.core import Assign, Plan, Reducer, Stage, TokenView
from atc.core.distillation import exact
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
    """Removes the patches of least CLS attention, then merges the least attended of the others into the rest.

    Patches are ranked by head-mean CLS attention. The first p stay; of those, all behind the first `keep` join the most
    similar of the first `keep` (cosine of tokens behind the attention). A receiver becomes the plain mean of its group.
    A patch that joins adds its size times its similarity, so that sizes are no whole numbers and do not add up.

    The counts of the paper are learned once for a model, with its weights as they are: `conf/experiment` has two of the
    published schedules. Those count the CLS token; `p` and `keep` do not.

    Args:
        stage: where the instance works.
        p: patches that are not removed, one count for each block that reduces, or for each block of the backbone; None:
            half of the patches that go are removed, half merge (ours).
        as_released: a patch that points away from its receiver takes from its size, as in the authors' code; by
            default it adds nothing.
    """

    needs = frozenset({"cls_attn"})
    proportional_attention = True
    exceptions = {"outputs_are_covered_and_sizes_add_up": "a patch counts in its group by how much it resembles it"}

    def __init__(self, stage: Stage, p: Sequence[Annotated[int, "[1, inf)"]] | None = None, as_released: bool = False):
        super().__init__(stage)
        if p is not None and stage.number > len(p):
            raise ValueError(f"p must have a count for each block that reduces, {stage.number} at least, got {len(p)}")
        self.p = None if p is None else p[(stage.block if len(p) == stage.depth else stage.number) - 1]
        self.as_released = as_released

    @torch.no_grad()
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The `keep` most attended patches, with those merged into them that rank behind."""
        assert view.cls_attn is not None
        tokens = view.x.shape[1]
        left = (tokens + keep) // 2 if self.p is None else min(max(self.p, keep), tokens)
        rank = view.cls_attn.mean(1).argsort(dim=1, descending=True, stable=True)
        receivers, joining = rank[:, :keep], rank[:, keep:left]
        image = torch.arange(len(rank), device=rank.device)[:, None]
        with torch.autocast(view.x.device.type, enabled=False):
            unit = unit_vectors(exact(view.x))
            similar, partner = (unit[image, joining] @ unit[image, receivers].mT).max(dim=2)
        labels = torch.full_like(rank, -1)
        labels[image, receivers] = torch.arange(keep, device=rank.device)
        labels[image, joining] = partner
        counts = unit.new_ones(rank.shape)
        counts[image, joining] = similar if self.as_released else similar.clamp_min(0)
        return _ByResemblance(labels, keep, counts)

"""ATS: Adaptive Token Sampling (Fayyaz et al., ECCV 2022, arXiv 2111.15667), as used in arXiv 2308.04657."""

import torch
from torch import Tensor

from atc.core import Plan, Reducer, Select, Stage, TokenView
from atc.core.distillation import exact


class ATS(Reducer):
    """Samples patches by how much they matter to the CLS token, at points that are evenly spread; some coincide.

    A patch matters as much as the CLS attention to it times the norm of its value, summed over heads. Of the shares of
    that in the order of the patches, running sums make a distribution function. Each of `keep` points in (0, 1)
    chooses the patch whose running sum is nearest, the first of equals; patches that several points choose are kept
    once, so that an image keeps `keep` patches at most, and fewer where few matter. Patches stay in order. An image
    keeps the same patches in every batch.

    Args:
        stage: where the instance works.
        as_released: the points are float32, and as many as `torch.arange` returns, one more for some counts; distances
            are those of `torch.cdist`, which are not exact; padding is held away from the points by adding .1 to its
            running sum. (Where that one point more finds a patch of its own and no two points coincide, the last patch
            is left out.)
    """

    needs = frozenset({"cls_attn", "values"})
    dynamic = True

    def __init__(self, stage: Stage, as_released: bool = False):
        super().__init__(stage)
        self.as_released = as_released

    @torch.no_grad()
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The patches nearest to `keep` evenly spread points, in order, then padding."""
        assert view.cls_attn is not None
        assert view.values is not None
        attention, values = exact(view.cls_attn), exact(view.values)
        matters = (attention * torch.linalg.vector_norm(values, dim=-1)).sum(dim=1)
        running = (matters / (matters.sum(dim=1, keepdim=True) + 1e-6)).cumsum(dim=1)
        if view.valid is not None:
            padding = ~view.valid
            running = running + 0.1 * padding if self.as_released else running.masked_fill(padding, torch.inf)
        nearest = self._distances(running, keep).argmin(dim=2)
        tokens = running.shape[1]
        behind = torch.arange(tokens, 2 * tokens, device=running.device).expand_as(running)
        first, order = behind.scatter(1, nearest, nearest).topk(keep, dim=1, largest=False)  # no two are equal
        return Select(order, num_in=tokens, valid=first < tokens)

    def _distances(self, running: Tensor, keep: int) -> Tensor:
        """[B, N] running sums -> [B, points, N] how far each is from each point."""
        several = keep + 1  # the authors count the CLS token
        if self.as_released:
            limits = 1 / (2 * several), (2 * several - 1) / (2 * several), 2 / (2 * several)
            points = torch.arange(*limits, dtype=torch.float32, device=running.device).to(running.dtype)
            return torch.cdist(points[None, :, None], running.unsqueeze(2))
        points = torch.arange(1, 2 * keep, 2, dtype=running.dtype, device=running.device) / (2 * several)
        return (running.unsqueeze(1) - points[:, None]).abs_()

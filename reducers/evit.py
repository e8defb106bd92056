"""EViT (Liang et al., ICLR 2022, arXiv 2202.07800): Top-K, with the rest fused into one token."""

import torch

from atc.core import Assign, Plan, Reducer, TokenView


class EViT(Reducer):
    """The `keep` most attended patches, then one fused token: the sum of the others weighted by CLS attention.

    The weights are the head-mean CLS attentions themselves, not normalised over the fused tokens (EViT, Eq. 4,
    and its code), so the fused token is small. A fused token is an ordinary candidate at the next stage.
    """

    needs = frozenset({"cls_attn"})
    extra = 1
    exceptions = {"exactly_keep": "keeps `keep` tokens and adds the fused one, as published: keep + 1 come out"}

    def forward(self, view: TokenView, keep: int) -> Plan:
        """The `keep` tokens of highest attention, and all others as one more, weighted by their attention."""
        assert view.cls_attn is not None
        score = view.cls_attn.mean(1)
        kept = score.topk(keep, dim=1).indices
        slots = torch.arange(keep, device=kept.device).expand_as(kept)
        labels = torch.full_like(score, keep, dtype=torch.int64).scatter(1, kept, slots)
        weight = score.scatter(1, kept, 1.0)
        return Assign(labels, keep + 1, weight, average=False, kept=kept)

"""MCTF (Lee et al., CVPR 2024, arXiv 2403.10030): multi-criteria token fusion."""

from typing import Annotated

import torch
from torch import Tensor

from atc.core import Assign, Plan, Reducer, Stage, TokenView
from atc.core.distillation import exact
from atc.ops.scale import unit_vectors

Temperature = Annotated[float, "[0, inf)"]


class MCTF(Reducer):
    """Merges tokens that resemble one another, receive little attention and are small, between two blocks.

    Sources and destinations take turns, as in ToMe. Of a source i and a destination j, the attraction is
    ``((cos_ij + 1) / 2) ** (1 / tau_similarity) * (u_i u_j) ** (1 / tau_information) * (w_i w_j) ** (1 / tau_size)``:
    the cosine of the tokens; u, one over the attention that each receives in the block before, a mean over heads and
    queries; w, one over their sizes. u and w are divided by their maxima over all tokens. Of the tokens that go, half,
    rounded down, are sources that join the destination that attracts them most; the others are destinations that join
    an unmerged source, with what they received. Outputs are the unmerged sources, then the unmerged destinations, those
    of strongest attraction first. In a mean, a token counts its size times the attention that it receives. A step
    removes at most half of the tokens.

    Args:
        stage: where the instance works.
        tau_similarity: temperature of the cosine; 0 leaves it out.
        tau_information: of the attention; 0 leaves it out.
        tau_size: of the sizes; 0 leaves them out.
        bidirectional: False: only sources join, and destinations stay in order.
        attention_weighted: False: a token counts its size in a mean.
    """

    site = "before_block"
    needs = frozenset({"attn"})
    proportional_attention = True
    size_weighted = True

    def __init__(
        self,
        stage: Stage,
        tau_similarity: Temperature = 1.0,
        tau_information: Temperature = 20.0,
        tau_size: Temperature = 40.0,
        bidirectional: bool = True,
        attention_weighted: bool = True,
    ):
        super().__init__(stage)
        self.tau_similarity, self.tau_information, self.tau_size = tau_similarity, tau_information, tau_size
        self.bidirectional, self.attention_weighted = bidirectional, attention_weighted

    @classmethod
    def least(cls, num_tokens: int) -> int:
        """Half of `num_tokens`, rounded up."""
        return num_tokens - num_tokens // 2

    @torch.no_grad()
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The merges of strongest attraction that leave `keep` tokens."""
        assert view.attn is not None
        attention = exact(view.attn).mean(dim=(1, 2)).clamp_min(1e-30)  # that each token receives, the prefix in front
        first, tokens = view.prefix % 2, view.x.shape[1]
        with torch.autocast(view.x.device.type, enabled=False):
            attraction = self._attraction(view, attention)
        place = torch.arange(tokens, device=view.x.device).expand(len(view.x), -1)
        there = attraction.shape[2]  # destinations
        joining = (tokens - keep) // 2 if self.bidirectional else tokens - keep
        back = tokens - keep - joining
        best, partner = attraction.max(dim=2)
        order = best.argsort(dim=1, descending=True, stable=True)
        merged, unmerged = order[:, :joining], order[:, joining:].sort(dim=1).values
        left = unmerged.shape[1]
        of_source, of_destination = torch.empty_like(order), place[:, :there] + left
        if self.bidirectional:
            rows = attraction.gather(1, unmerged.unsqueeze(2).expand(-1, -1, there))
            strongest, receiver = rows.max(dim=1)
            ranked = strongest.argsort(dim=1, descending=True, stable=True)
            into = receiver.gather(1, ranked[:, :back])
            of_destination = torch.empty_like(ranked)
            of_destination.scatter_(1, ranked, torch.cat([into, left + place[:, : there - back]], dim=1))
        of_source.scatter_(1, unmerged, place[:, :left])
        of_source.scatter_(1, merged, of_destination.gather(1, partner.gather(1, merged)))
        labels = torch.empty_like(place)
        labels[:, first::2], labels[:, 1 - first :: 2] = of_source, of_destination
        return Assign(labels, keep, attention[:, view.prefix :] if self.attention_weighted else None)

    def _attraction(self, view: TokenView, attention: Tensor) -> Tensor:
        """[B, P+N] received attention -> [B, sources, destinations] how strongly they attract each other."""
        first = view.prefix % 2
        unit, size = unit_vectors(exact(view.x)), exact(view.size)
        total = (unit[:, first::2] @ unit[:, 1 - first :: 2].mT + 1) / 2
        total = total ** (1 / self.tau_similarity) if self.tau_similarity else torch.ones_like(total)
        smallest = 1 if view.prefix else size.amin(1, keepdim=True)
        little = attention.amin(1, keepdim=True) / attention[:, view.prefix :]
        for tau, one in ((self.tau_information, little), (self.tau_size, smallest / size)):
            if tau:
                total = total * (one[:, first::2, None] * one[:, None, 1 - first :: 2]) ** (1 / tau)
        return total

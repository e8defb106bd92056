"""MCTF (Lee et al., CVPR 2024, arXiv 2403.10030): multi-criteria token fusion."""

from typing import Annotated

import torch
from torch import Tensor

from atc.core import Assign, Plan, Reducer, Stage, TokenView
from atc.ops.scale import unit_vectors

Temperature = Annotated[float, "[0, inf)"]


class MCTF(Reducer):
    """Merges tokens that resemble one another, matter little and are small; works behind a block, before the next one.

    Sources and destinations take turns, as in ToMe. Of a source i and a destination j, the attraction is
    ``((cos_ij + 1) / 2) ** (1 / tau_similarity) * (u_i u_j) ** (1 / tau_information) * (w_i w_j) ** (1 / tau_size)``: the
    cosine of their tokens, how little attention each receives (u, one over the mean over heads and queries), and one
    over their sizes (w); u and w are divided by their maxima over all tokens. Half of the tokens that go, rounded
    down, are sources that join the destination that attracts them most; the others are destinations that join an unmerged
    source, with what they received. Outputs are the unmerged sources, then the unmerged destinations, those with
    the strongest attraction first. In a mean, a token counts its size times the attention that it receives.

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
        self.taus = tau_similarity, tau_information, tau_size
        self.bidirectional, self.attention_weighted = bidirectional, attention_weighted

    @classmethod
    def least(cls, num_tokens: int) -> int:
        """Half of `num_tokens`, rounded up."""
        return num_tokens - num_tokens // 2

    @torch.no_grad()
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The merges of strongest attraction that leave `keep` tokens."""
        assert view.attn is not None
        received = view.attn.mean(dim=(1, 2))[:, view.prefix :]
        first = view.prefix % 2
        attraction = self._attraction(view, first)
        tokens = view.x.shape[1]
        gone = tokens - keep
        place = torch.arange(tokens, device=view.x.device).expand(len(view.x), -1)
        sources, destinations = place[:, first::2], place[:, 1 - first :: 2]
        joining = gone // 2 if self.bidirectional else gone
        best, partner = attraction.max(dim=2)
        order = best.argsort(dim=1, descending=True, stable=True)
        merged, unmerged = order[:, :joining], order[:, joining:].sort(dim=1).values
        left = unmerged.shape[1]
        rows = attraction.gather(1, unmerged.unsqueeze(2).expand(-1, -1, attraction.shape[2]))
        back, receiver = rows.max(dim=1)
        ranked = back.argsort(dim=1, descending=True, stable=True) if self.bidirectional else place[:, : back.shape[1]]
        into, stay = ranked.split([gone - joining, back.shape[1] - gone + joining], dim=1)
        of_destination = torch.empty_like(ranked)
        of_destination.scatter_(1, into, receiver.gather(1, into))
        of_destination.scatter_(1, stay, left + place[:, : stay.shape[1]])
        of_source = torch.empty_like(order)
        of_source.scatter_(1, unmerged, place[:, :left])
        of_source.scatter_(1, merged, of_destination.gather(1, partner.gather(1, merged)))
        labels = torch.empty_like(place)
        labels[:, first::2], labels[:, 1 - first :: 2] = of_source, of_destination
        return Assign(labels, keep, received if self.attention_weighted else None)

    def _attraction(self, view: TokenView, first: int) -> Tensor:
        """[B, sources, destinations] how strongly they attract each other."""
        exact = torch.promote_types(view.x.dtype, torch.float32)
        similarity, information, size = self.taus
        unit = unit_vectors(view.x.to(exact))
        total = unit.new_ones(len(unit), len(unit[0, first::2]), len(unit[0, 1 - first :: 2]))
        if similarity:
            total = total * ((unit[:, first::2] @ unit[:, 1 - first :: 2].mT + 1) / 2) ** (1 / similarity)
        everything = view.attn.mean(dim=(1, 2)).to(exact)
        little = everything.amin(1, keepdim=True) / everything[:, view.prefix :]
        if information:
            total = total * (little[:, first::2, None] * little[:, None, 1 - first :: 2]) ** (1 / information)
        small = (1 if view.prefix else view.size.to(exact).amin(1, keepdim=True)) / view.size.to(exact)
        if size:
            total = total * (small[:, first::2, None] * small[:, None, 1 - first :: 2]) ** (1 / size)
        return total

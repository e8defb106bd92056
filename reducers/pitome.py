"""PiToMe (Tran et al., NeurIPS 2024, arXiv 2405.16148): merging that protects tokens unlike all others."""

import math
from typing import Annotated

import torch
from torch.nn import functional as F

from atc.core import Assign, Plan, Reducer, Stage, TokenView
from atc.core.distillation import exact
from atc.ops.scale import unit_vectors


class PiToMe(Reducer):
    """Ranks tokens by their energy, how much they resemble all tokens, and merges those of high energy.

    The energy of a token is the mean of ELU(cosine - m) over all tokens, itself included, with head-mean keys and a
    margin m that falls from block to block: ``margin * (1 - l / depth)``, l from 0. To remove r tokens in the later
    part of the backbone, the first 2r of the ranking merge, by turns sources and destinations, each source with its
    most similar destination; the others are protected. In the earlier part the whole ranking is split by turns, and
    the r sources that are most similar to a destination merge. Outputs are the protected tokens by rank (earlier: the
    unmerged sources, the most similar first), then the destinations by rank. A step removes at most half of the tokens.

    As in the authors' code for DeiT, no attention is proportional to size; `atc.wrap` can switch it on.

    Args:
        stage: where the instance works.
        margin: of the first block.
        protect_from: the share of blocks in front of which nothing is protected.
    """

    size_weighted = True

    def __init__(self, stage: Stage, margin: float = 0.75, protect_from: Annotated[float, "[0, 1]"] = 0.5):
        super().__init__(stage)
        depth = max(stage.depth, stage.block)
        self.margin = margin * (1 - (stage.block - 1) / depth)
        self.protects = stage.block - 1 >= math.ceil(protect_from * depth)

    @classmethod
    def least(cls, num_tokens: int) -> int:
        """Half of `num_tokens`, rounded up."""
        return num_tokens - num_tokens // 2

    @torch.no_grad()
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The merges of tokens of high energy that leave `keep` tokens."""
        with torch.autocast(view.keys.device.type, enabled=False):
            unit = unit_vectors(exact(view.keys))
            cosine = unit @ unit.mT
        batch, tokens = unit.shape[:2]
        merged = tokens - keep
        rank = F.elu(cosine - self.margin).mean(2).argsort(dim=1, descending=True, stable=True)
        taking_part = rank[:, : 2 * merged] if self.protects else rank
        protected = rank[:, 2 * merged :] if self.protects else rank[:, :0]
        sources, destinations = taking_part[:, ::2], taking_part[:, 1::2]
        image = torch.arange(batch, device=unit.device)[:, None]
        between = cosine[image[..., None], sources[:, :, None], destinations[:, None, :]]
        best, partner = between.max(dim=2)
        order = best.argsort(dim=1, descending=True, stable=True)
        leading = keep - destinations.shape[1]  # outputs in front of the destinations
        place = torch.arange(tokens, device=unit.device).expand(batch, -1)
        labels = torch.empty_like(rank)
        labels[image, destinations] = leading + place[:, : destinations.shape[1]]
        labels[image, sources] = leading + partner
        if self.protects:
            labels[image, protected] = place[:, :leading]
        else:
            unmerged = sources.gather(1, order[:, merged:])
            labels[image, unmerged] = place[:, :leading]
        return Assign(labels, keep)

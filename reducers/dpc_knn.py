"""DPC-KNN (TCFormer, Zeng et al., CVPR 2022, arXiv 2204.08680), as used in arXiv 2308.04657."""

import torch
from torch import Tensor, nn

from atc.core import Assign, Count, Plan, Reducer, Stage, TokenView
from atc.ops.centres import nearest_centres, nearest_denser, plain, smallest_distances
from atc.ops.exporting import pairwise_cdist
from atc.ops.scale import power_of_two


class DPCKNN(Reducer):
    """Density peaks: dense tokens far from any denser one become centres, the rest joins the nearest centre.

    A cluster becomes the mean of the tokens entering the block, weighted by exp(linear(x)) with one learned
    linear layer per stage; `equal_weight` takes weights of 1 and has no parameters. The layer starts at zero,
    so that off the shelf both are the same. Equally dense tokens rank by position.

    Args:
        stage: where the instance works.
        k: neighbours in the density estimate, a token itself included.
        equal_weight: plain means in place of the learned weights.
        as_released: density ties are broken by adding uniform noise of up to 1e-6 instead, in evaluation too, and the
            layer starts at a truncated normal of standard deviation .02.
    """

    site = "before_block"
    released_method = "dpcknn"
    released_arguments = {"equal_weight": "equal_weight", "k_neighbors": "k"}
    released_names = {"cluster_layers.{stage}.score.": "weight."}

    def __init__(self, stage: Stage, k: Count = 5, equal_weight: bool = False, as_released: bool = False):
        super().__init__(stage)
        self.k, self.as_released = k, as_released
        self.weight = None if equal_weight else nn.Linear(stage.dim, 1)
        if self.weight is not None:
            nn.init.zeros_(self.weight.bias)
            if as_released:
                nn.init.trunc_normal_(self.weight.weight, std=0.02)
            else:
                nn.init.zeros_(self.weight.weight)

    @torch.no_grad()
    def _cluster(self, x: Tensor, keep: int) -> tuple[Tensor, Tensor]:
        """[B, N, C] -> labels [B, N] and centres [B, K]; clusters are numbered by descending score of their centres."""
        with torch.autocast(x.device.type, enabled=False):
            x = x if x.dtype == torch.float64 else x.float()
            num_tokens = x.shape[1]
            # Distances are compared on a scale on which their squares are representable; densities are the true ones.
            scale = power_of_two(x, (1, 2))
            x = x * scale
            distance = pairwise_cdist(x) / x.shape[-1] ** 0.5
            closest = smallest_distances(distance, min(self.k, num_tokens)) / scale
            density = (-closest.square().mean(dim=2)).exp()
            if self.as_released:
                density = density + self.draw(density.shape, density) * 1e-6
                to_denser = plain.nearest_denser(distance, density, by_position=False)
            else:
                to_denser = nearest_denser(distance, density)
            centres = (to_denser * density).topk(keep, dim=1).indices
            return nearest_centres(distance, centres), centres

    def forward(self, view: TokenView, keep: int) -> Plan:
        """The clusters around `keep` density peaks, and the learned weights of their means."""
        labels, centres = self._cluster(view.x, keep)
        weight = None if self.weight is None else self.weight(view.x).squeeze(-1).exp()
        # 1e-6 in the denominator is the published code's guard; without learned weights it moves a mean by 1e-6
        # of itself at most, and it is kept in both modes so that they differ only where the docstring says.
        return Assign(labels, keep, weight, eps=1e-6, kept=centres)

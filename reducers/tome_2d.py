"""ToMe for diffusion (Bolya & Hoffman, CVPR Workshops 2023, arXiv 2303.17604): destinations on a grid."""

import torch
from torch import Tensor
from typing_extensions import override

from atc.core import Assign, Count, Plan, Reducer, Stage, TokenView
from atc.ops.scale import unit_vectors


class ToMe2D(Reducer):
    """Merges the tokens most similar to one of the destinations, of which each cell of the grid has one, into it.

    Cells are `sy` rows by `sx` columns from the top left on; tokens of rows and columns that fill no cell are
    sources, as are all of a cell but its destination. Similarity is the cosine of the keys, in float32 at least. A
    merged token is the mean of its sources and its destination. Every token must be one patch of the grid. Output
    order: the unmerged sources, then the destinations, both by position.

    Args:
        stage: where the instance works.
        sx: columns of a cell.
        sy: rows of a cell.
        generator: draws the destination of each cell, once for the whole batch; None takes the top left of each.
        as_released: the authors' code draws nothing for an odd number of images.

    Attributes:
        least_share: of the tokens, which are left where all sources merge and cells fill the grid.
    """

    one_stage = True

    def __init__(
        self,
        stage: Stage,
        sx: Count = 2,
        sy: Count = 2,
        generator: torch.Generator | None = None,
        as_released: bool = False,
    ):
        super().__init__(stage)
        self.sx, self.sy, self.generator, self.as_released = sx, sy, generator, as_released
        self.least_share = 1 / (sx * sy)

    @classmethod
    @override
    def least(cls, num_tokens: int) -> int:
        """A quarter of `num_tokens`, for cells of 2 x 2; grids that cells do not fill reach it too."""
        return max(1, num_tokens // 4)

    def _destinations(self, grid: tuple[int, int], batch: int, device: torch.device) -> Tensor:
        """[cells] int64: the position of the destination of each cell."""
        rows, columns = grid[0] // self.sy, grid[1] // self.sx
        down = torch.arange(rows, device=device)[:, None] * self.sy
        right = torch.arange(columns, device=device) * self.sx
        if self.generator is not None and not (self.as_released and batch % 2):
            if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
                raise ValueError("a CUDA graph cannot repeat what a generator draws: leave generator out")
            shape, source = (rows, columns, 1), self.generator
            place = torch.randint(self.sy * self.sx, shape, generator=source, device=source.device).to(device)[..., 0]
            down, right = down + place // self.sx, right + place % self.sx
        return (down * grid[1] + right).flatten()

    @torch.no_grad()
    @override
    def forward(self, view: TokenView, keep: int) -> Plan:
        """The merges of sources into destinations with the highest similarity that leave `keep` tokens."""
        batch, num_tokens = view.x.shape[:2]
        cells = (view.grid[0] // self.sy) * (view.grid[1] // self.sx)
        if num_tokens != view.grid[0] * view.grid[1]:
            raise ValueError(
                f"{num_tokens} tokens do not fill the grid of {view.grid[0]} x {view.grid[1]} patches: tome_2d reduces "
                "where every token is one patch"
            )
        if not 1 <= cells <= keep:
            raise ValueError(f"{cells} cells of {self.sy} x {self.sx} tokens leave as many: they must be 1 to {keep}")
        destinations = self._destinations(view.grid, batch, view.x.device)
        places = torch.arange(num_tokens, device=view.x.device)
        chosen = torch.zeros_like(places).scatter(0, destinations, 1)
        order = chosen.argsort(stable=True)  # sources, then destinations
        sources = num_tokens - cells
        with torch.autocast(view.x.device.type, enabled=False):
            keys = view.keys if view.keys.dtype == torch.float64 else view.keys.float()
            keys = unit_vectors(keys).index_select(1, order)
            best, partner = (keys[:, :sources] @ keys[:, sources:].transpose(1, 2)).max(dim=-1)
        rank = best.argsort(dim=-1, descending=True, stable=True)
        removed = num_tokens - keep
        merged, unmerged = rank[:, :removed], rank[:, removed:].sort(dim=-1).values

        labels = torch.empty(batch, num_tokens, dtype=torch.int64, device=view.x.device)
        labels[:, sources:] = places[keep - cells : keep]
        labels.scatter_(1, merged, keep - cells + partner.gather(1, merged))
        labels.scatter_(1, unmerged, places[: keep - cells].expand(batch, -1))
        return Assign(torch.zeros_like(labels).index_copy(1, order, labels), keep)

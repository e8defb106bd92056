"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159, Eq. 3).

Letters: B batch, Q queries, H heads, L levels, S points sampled by a head on a level, V places on all levels.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Grid = tuple[int, int]  # rows and columns


def sample(values: Tensor, grids: Sequence[Grid], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of values at places between those of the levels' grids, in float32 at least.

    Values between grid places are bilinear; outside a level they are zero. The centre of the place i of n lies
    at (i + 1/2) / n.

    Args:
        values: ``[B, V, H, D]``, the levels one after the other, rows after rows.
        grids: rows and columns of each level.
        locations: ``[B, Q, H, L, S, 2]``, x and y, 0 to 1 from edge to edge of a level.
        weights: ``[B, Q, H, L, S]``.

    Returns:
        ``[B, Q, H * D]`` in the dtype of `values`, or float32 where that is a smaller one.
    """
    batch, _, heads, width = values.shape
    queries = locations.shape[1]
    dtype = torch.promote_types(values.dtype, torch.float32)
    with nullcontext() if values.is_meta else torch.autocast(values.device.type, enabled=False):
        places = (2 * locations.to(dtype) - 1).transpose(1, 2).flatten(0, 1)  # [B*H, Q, L, S, 2]
        shares = weights.to(dtype).transpose(1, 2).flatten(0, 1).unsqueeze(1)  # [B*H, 1, Q, L, S]
        total = values.new_zeros(batch * heads, width, queries, dtype=dtype)
        levels = values.to(dtype).split([rows * columns for rows, columns in grids], dim=1)
        for number, (level, grid) in enumerate(zip(levels, grids, strict=True)):
            maps = level.permute(0, 2, 3, 1).reshape(batch * heads, width, *grid)
            sampled = F.grid_sample(maps, places[:, :, number], mode="bilinear", align_corners=False)
            total = total + (sampled * shares[:, :, :, number]).sum(dim=-1)
        return total.unflatten(0, (batch, heads)).permute(0, 3, 1, 2).flatten(2)


def centres(grids: Sequence[Grid], like: Tensor) -> Tensor:
    """The centres of the places of grids, one grid after the other: reference points of queries.

    Args:
        grids: rows and columns of each.
        like: a tensor on the device that they are for; its dtype, or float32 for a smaller one, is theirs.

    Returns:
        ``[1, Q, 1, 2]``, x and y in (0, 1).

    Examples:
        >>> centres([(1, 2)], torch.zeros(1)).flatten().tolist()
        [0.25, 0.5, 0.75, 0.5]
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    points = []
    for rows, columns in grids:
        y = (torch.arange(rows, device=like.device, dtype=dtype) + 0.5) / rows
        x = (torch.arange(columns, device=like.device, dtype=dtype) + 0.5) / columns
        points.append(torch.stack([x.expand(rows, -1), y.unsqueeze(1).expand(-1, columns)], dim=-1).flatten(0, 1))
    return torch.cat(points)[None, :, None]


class DeformableAttention(nn.Module):
    """Every query attends to a few places around its reference point, on every level.

    Parameters have the names of Deformable DETR's module.

    Args:
        dim: C, channels of queries and values.
        heads: H.
        levels: L, grids that the values lie on.
        points: S, places sampled by each head on each level.
        ratio: of the channels inside to C.

    Raises:
        ValueError: heads that do not divide the channels.
    """

    def __init__(self, dim: int, heads: int, levels: int, points: int = 4, ratio: float = 1.0):
        super().__init__()
        inside = int(dim * ratio)
        if inside < heads or inside % heads:
            raise ValueError(
                f"deform_heads={heads} must divide the {inside} channels of deformable attention "
                f"(deform_ratio={ratio} of {dim}); ViT-Adapter takes 6 for ViT-T and S, 12 for B, 16 for L"
            )
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, inside)
        self.output_proj = nn.Linear(inside, dim)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Point number s of a head looks s places into the direction of that head; all weigh alike."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1).view(1, 1, -1, 1)
        offsets = directions.view(self.heads, 1, 1, 2).expand(-1, self.levels, self.points, -1) * steps
        nn.init.zeros_(self.sampling_offsets.weight)
        self.sampling_offsets.bias.copy_(offsets.flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, reference: Tensor, feat: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Attend.

        Args:
            query: ``[B, Q, C]``.
            reference: ``[1 or B, Q, 1 or L, 2]``, x and y in [0, 1].
            feat: ``[B, V, C]``, the values.
            grids: rows and columns of each level.

        Returns:
            ``[B, Q, C]``.
        """
        inside, places = self.value_proj.out_features // self.heads, self.levels * self.points
        values = self.value_proj(feat).unflatten(-1, (self.heads, inside))
        shape = (*query.shape[:2], self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query).reshape(*shape, 2)
        weights = self.attention_weights(query).unflatten(-1, (self.heads, places)).softmax(dim=-1).reshape(shape)
        sizes = torch.tensor([(columns, rows) for rows, columns in grids], device=query.device, dtype=reference.dtype)
        locations = reference[:, :, None, :, None] + offsets.to(reference.dtype) / sizes[:, None]
        return self.output_proj(sample(values, grids, locations, weights).to(values.dtype))

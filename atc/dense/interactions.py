"""How ViT-Adapter's pyramid and a ViT exchange what they know (arXiv 2205.08534, Sec. 3.2 to 3.4).

Letters: B batch, N patches on a grid of rows x columns, C channels. The pyramid's three coarse maps lie at strides 8,
16 and 32 pixels, as tokens one map after the other: M = 4N + N + N/4 tokens.
"""

from collections.abc import Sequence

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from atc.dense.deformable import DeformableAttention, Grid, centres


def pyramid_grids(grid: Grid) -> list[Grid]:
    """The grids of the pyramid's maps at strides 8, 16 and 32, from that of the patches."""
    rows, columns = grid
    return [(2 * rows, 2 * columns), (rows, columns), (rows // 2, columns // 2)]


def as_maps(tokens: Tensor, grids: Sequence[Grid]) -> list[Tensor]:
    """``[B, M, C]`` -> one map ``[B, C, rows, columns]`` a grid."""
    parts = tokens.split([rows * columns for rows, columns in grids], dim=1)
    return [part.transpose(1, 2).unflatten(-1, grid) for part, grid in zip(parts, grids, strict=True)]


class _DepthwiseConvolution(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor, grids: Sequence[Grid]) -> Tensor:
        return torch.cat([self.dwconv(part).flatten(2).transpose(1, 2) for part in as_maps(x, grids)], dim=1)


class ConvolutionalMLP(nn.Module):
    """Two linear layers, with a depthwise 3 x 3 convolution of every map between them.

    Args:
        dim: C.
        hidden: channels between the layers.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = _DepthwiseConvolution(hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, grids: Sequence[Grid]) -> Tensor:
        """``[B, M, C]`` -> the same."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(x), grids)))


class Injector(nn.Module):
    """Adds to the patches what they see in the pyramid; gamma, 0 at first, says how much of it.

    Args:
        dim: C.
        heads: of deformable attention.
        ratio: of its channels inside to C.
    """

    def __init__(self, dim: int, heads: int, ratio: float):
        super().__init__()
        self.query_norm = nn.LayerNorm(dim, eps=1e-6)
        self.feat_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attn = DeformableAttention(dim, heads, levels=3, ratio=ratio)
        self.gamma = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, pyramid: Tensor, grid: Grid) -> Tensor:
        """Patches ``[B, N, C]``, pyramid ``[B, M, C]`` -> patches."""
        seen = self.attn(self.query_norm(x), centres([grid], x), self.feat_norm(pyramid), pyramid_grids(grid))
        return x + self.gamma * seen


class Extractor(nn.Module):
    """Adds to the pyramid what it sees in the patches.

    Args:
        dim: C.
        heads: of deformable attention.
        ratio: of its channels inside to C.
        cffn_ratio: of the channels inside the MLP to C.
        drop_path: how often training leaves out the MLP of an image.
    """

    def __init__(self, dim: int, heads: int, ratio: float, cffn_ratio: float, drop_path: float):
        super().__init__()
        self.query_norm = nn.LayerNorm(dim, eps=1e-6)
        self.feat_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attn = DeformableAttention(dim, heads, levels=1, ratio=ratio)
        self.ffn = ConvolutionalMLP(dim, int(dim * cffn_ratio))
        self.ffn_norm = nn.LayerNorm(dim, eps=1e-6)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, pyramid: Tensor, x: Tensor, grid: Grid) -> Tensor:
        """Pyramid ``[B, M, C]``, patches ``[B, N, C]`` -> pyramid."""
        grids = pyramid_grids(grid)
        pyramid = pyramid + self.attn(self.query_norm(pyramid), centres(grids, pyramid), self.feat_norm(x), [grid])
        return pyramid + self.drop_path(self.ffn(self.ffn_norm(pyramid), grids))


class Interaction(nn.Module):
    """One exchange: the injector before a quarter of the blocks, the extractors behind it.

    Args:
        dim: C.
        heads: of deformable attention.
        ratio: of its channels inside to C.
        cffn_ratio: of the channels inside the extractors' MLP to C.
        drop_path: of the extractors.
        extra: how many more extractors come behind the first.
    """

    def __init__(self, dim: int, heads: int, ratio: float, cffn_ratio: float, drop_path: float, extra: int = 0):
        super().__init__()
        self.injector = Injector(dim, heads, ratio)
        self.extractor = Extractor(dim, heads, ratio, cffn_ratio, drop_path)
        more = [Extractor(dim, heads, ratio, cffn_ratio, drop_path) for _ in range(extra)]
        self.extra_extractors = nn.ModuleList(more) if extra else None

    def extractors(self) -> list[nn.Module]:
        """All of them, in order."""
        return [self.extractor, *(self.extra_extractors or ())]

"""Radial patterns (Haurum et al., ICCVW 2023, arXiv 2308.04657): fixed, whatever the image."""

import functools
import operator
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from atc.core import Plan, Reducer, Select, Stage, TokenView
from atc.ops.exporting import may_keep_constants

Norm = Literal["l1", "l2", "linf"]


class Radial(Reducer):
    """Keeps the patches within a radius around the centre of the image: all that are as far as the last one, or none.

    Patches of equal distance are a ring. A schedule's count becomes that of the nearest number of whole rings, the
    smaller of two that are equally near; where that is all patches, nothing is removed. Order stays. Every token has to
    be one patch of the grid, as they are where this is the only method. `keep` tokens that end inside a ring are its
    first by position.

    Args:
        stage: where the instance works.
        norm: distance along the grid: "l1" (diamonds), "l2" (circles), "linf" (squares).
        as_released: distances are rounded to float32, which splits some rings, and rows and columns of other than
            square grids are scaled apart.
    """

    site = "before_block"
    released_method = "heuristic"

    def __init__(self, stage: Stage, norm: Norm = "l2", as_released: bool = False):
        super().__init__(stage)
        self.norm, self.as_released = norm, as_released

    @classmethod
    @override
    def possible_counts(
        cls, grid: tuple[int, int], norm: Norm = "l2", as_released: bool = False, **arguments: Any
    ) -> Sequence[int]:
        """The patches within each ring.

        Examples:
            >>> Radial.possible_counts((4, 4), norm="linf")
            (4, 16)
        """
        return _counts(norm, _plain(grid), as_released)

    def forward(self, view: TokenView, keep: int) -> Plan:
        """The `keep` tokens nearest to the centre, in order."""
        batch, tokens = view.size.shape
        indices = _known_indices if may_keep_constants(view.size) else _indices
        kept = indices(self.norm, _plain(view.grid), self.as_released, *_plain((tokens, keep)), view.size.device)
        return Select(kept.expand(batch, -1), num_in=tokens)


def _plain(sizes: tuple[int, int]) -> tuple[int, int]:
    """Sizes that a compiled model may have as symbols, as numbers."""
    return operator.index(sizes[0]), operator.index(sizes[1])


@functools.lru_cache(maxsize=256)
def _distances(norm: Norm, grid: tuple[int, int], as_released: bool) -> tuple[float, ...]:
    """Of each patch from the centre, in steps of half a patch; as released, of about one."""
    down, right = (_released_places(side) if as_released else abs(2 * np.arange(side) - (side - 1)) for side in grid)
    if norm == "l1":
        distances = down[:, None] + right
    elif norm == "linf":
        distances = np.maximum(down[:, None], right)
    else:  # the order of squares is that of roots, but for roundings
        distances = down[:, None] ** 2 + right**2
        distances = np.sqrt(distances) if as_released else distances
    return tuple(distances.ravel().tolist())


def _released_places(side: int) -> Any:
    """[side] float32: how far rows are from the middle, from side / 2 to 0 to side / 2, to the bit as PyTorch has it.

    Its `linspace` counts from both ends, in one rounding for each place.
    """
    end = np.float32(side / 2)
    step = np.float32(2 * end / max(side - 1, 1))
    outer = np.abs(step.astype(np.float64) * np.arange((side + 1) // 2) - end).astype(np.float32)
    return np.concatenate([outer, outer[: side // 2][::-1]])


@torch.compiler.assume_constant_result
def _counts(norm: Norm, grid: tuple[int, int], as_released: bool) -> tuple[int, ...]:
    return tuple(np.unique(_distances(norm, grid, as_released), return_counts=True)[1].cumsum().tolist())


@functools.lru_cache(maxsize=256)
def _kept(norm: Norm, grid: tuple[int, int], as_released: bool, tokens: int, keep: int) -> list[int]:
    """Which of the innermost `tokens` patches are among the innermost `keep`."""
    inwards = np.argsort(_distances(norm, grid, as_released), kind="stable")
    return np.searchsorted(np.sort(inwards[:tokens]), np.sort(inwards[:keep])).tolist()


@torch.compiler.assume_constant_result
def _indices(
    norm: Norm, grid: tuple[int, int], as_released: bool, tokens: int, keep: int, device: torch.device
) -> Tensor:
    with torch.inference_mode(False):  # tensors of that mode cannot be saved for a gradient
        return torch.tensor([_kept(norm, grid, as_released, tokens, keep)], device=device)


_known_indices = functools.lru_cache(maxsize=256)(_indices)

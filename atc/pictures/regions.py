"""Clusters of patches as regions of the patch grid: whose neighbour is whose, and where one ends.

A `source` map is one image's row of `StageTrace.source`: [N0] integers, the token that holds each patch, -1 where it
was pruned. `grid` is (rows, columns) of the patches, N0 = rows * columns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


def on_grid(source: Labels, grid: tuple[int, int]) -> Labels:
    """[N0] -> [rows, columns]; ValueError if the grid has another number of patches."""
    source = np.asarray(source, dtype=np.int64)
    if source.shape != (grid[0] * grid[1],):
        raise ValueError(
            f"a source map of shape {list(source.shape)} does not fit a grid of {grid[0]} x {grid[1]} patches"
        )
    return source.reshape(grid)


def patch_size(photo: Pixels, grid: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a patch in pixels of the photograph [H, W, 3]; ValueError if they are not whole."""
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ValueError(f"a photograph must be [H, W, 3] uint8, got {list(photo.shape)} {photo.dtype}")
    if photo.shape[0] % grid[0] or photo.shape[1] % grid[1]:
        raise ValueError(f"{photo.shape[0]} x {photo.shape[1]} pixels do not divide into {grid[0]} x {grid[1]} patches")
    return photo.shape[0] // grid[0], photo.shape[1] // grid[1]


def patches_of(source: Labels) -> Labels:
    """[N0] -> [K] patches held by each token, K = largest token number + 1; pruned patches are not counted."""
    return np.bincount(source[source >= 0])


def per_pixel(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """[rows, columns, ...] per patch -> [rows * height, columns * width, ...] per pixel."""
    return values.repeat(size[0], axis=0).repeat(size[1], axis=1)


def edges(source: Labels, grid: tuple[int, int]) -> Array:
    """Where clusters end: [M, 2, 2] segments from (x, y) to (x, y) in patches, origin at the top left.

    A segment lies between two neighbouring patches held by different tokens, or of which one is pruned; none
    between two pruned patches, and none on the frame of the image. Runs in one line are one segment.
    """
    cells = on_grid(source, grid)
    upright = _runs((cells[:, 1:] != cells[:, :-1]).T)  # at x = line + 1, along y
    level = _runs(cells[1:] != cells[:-1])  # at y = line + 1, along x
    lines = [[(line + 1, start), (line + 1, stop)] for line, start, stop in upright]
    lines += [[(start, line + 1), (stop, line + 1)] for line, start, stop in level]
    return np.array(lines, dtype=np.float64).reshape(-1, 2, 2)


def _runs(marks: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """(line, start, stop) of each run of true entries along the rows."""
    padded = np.pad(marks, ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(padded, axis=1)
    starts, stops = np.argwhere(change == 1), np.argwhere(change == -1)  # both in row order: they pair up
    return [(int(line), int(start), int(stop)) for (line, start), (_, stop) in zip(starts, stops, strict=True)]


def neighbours(source: Labels, grid: tuple[int, int], token: int) -> set[int]:
    """The tokens whose patches touch a patch of `token` along an edge or at a corner."""
    cells = on_grid(source, grid)
    own = cells == token
    wide = np.pad(own, 1)
    near = np.zeros_like(own)
    for down in range(3):
        for right in range(3):
            near |= wide[down : down + grid[0], right : right + grid[1]]
    return set(np.unique(cells[near & ~own & (cells >= 0)]).tolist())

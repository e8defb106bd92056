"""Pictures of clusters: a photograph [H, W, 3] uint8, a source map [N0] and its grid -> [H, W, 3] uint8.

Patches held by one token are one cluster, wherever they lie; pruned patches (-1) are dimmed. ValueError, in one
line, where the three do not fit together.
"""

import numpy as np

from atc.pictures.regions import Array, Labels, Pixels, edges, on_grid, patch_size, patches_of, per_pixel

_LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601


def mean_colours(photo: Pixels, source: Labels, grid: tuple[int, int]) -> Pixels:
    """Each cluster in the mean colour of its pixels: what is left of the image once its tokens have merged."""
    size, cells = patch_size(photo, grid), on_grid(source, grid)
    patches = photo.reshape(grid[0], size[0], grid[1], size[1], 3).mean(axis=(1, 3), dtype=np.float64)
    held, count = cells >= 0, patches_of(source)
    total = np.zeros((len(count), 3))
    np.add.at(total, cells[held], patches[held])
    colours = (total / np.maximum(count, 1)[:, None]).round().astype(np.uint8)
    return painted(photo, source, grid, colours)


def detailed(photo: Pixels, source: Labels, grid: tuple[int, int]) -> Pixels:
    """As `mean_colours`, but a patch that is still a token of its own keeps its picture."""
    size, cells, count = patch_size(photo, grid), on_grid(source, grid), patches_of(source)
    alone = (cells >= 0) & (np.append(count, 0)[cells] == 1)
    return np.where(per_pixel(alone, size)[..., None], photo, mean_colours(photo, source, grid))


def painted(photo: Pixels, source: Labels, grid: tuple[int, int], colours: Pixels) -> Pixels:
    """Each cluster in the colour [K, 3] uint8 of its token, pruned patches dimmed."""
    size, cells = patch_size(photo, grid), on_grid(source, grid)
    if not len(colours):
        return dimmed(photo)
    painting = per_pixel(colours[cells.clip(0)], size)
    return np.where(per_pixel(cells >= 0, size)[..., None], painting, dimmed(photo))


def mixed(photo: Pixels, shares: Array, grid: tuple[int, int], colours: Pixels | None = None) -> Pixels:
    """Each patch in the colours of its tokens, mixed by its shares; what of it was pruned is dimmed.

    Args:
        photo: ``[H, W, 3]`` uint8.
        shares: ``[N0, K]`` in [0, 1], how each patch is shared out over the tokens.
        grid: rows and columns of the patches.
        colours: ``[K, 3]`` of the tokens; None = the mean colour of what each holds.
    """
    size = patch_size(photo, grid)
    if shares.shape[0] != grid[0] * grid[1]:
        raise ValueError(f"shares of {shares.shape[0]} patches do not fit a grid of {grid[0]} x {grid[1]} patches")
    if colours is None:
        patches = photo.reshape(grid[0], size[0], grid[1], size[1], 3).mean(axis=(1, 3), dtype=np.float64)
        held = shares.sum(axis=0)[:, None]
        tokens = shares.T @ patches.reshape(-1, 3) / np.where(held > 0, held, 1)
    else:
        tokens = colours.astype(np.float64)
    painting = per_pixel((shares @ tokens).reshape(*grid, 3), size)
    pruned = per_pixel((1 - shares.sum(axis=1).clip(0, 1)).reshape(*grid, 1), size)
    return (painting + pruned * dimmed(photo)).round().clip(0, 255).astype(np.uint8)


def dimmed(photo: Pixels) -> Pixels:
    """A faint grey print of the photograph, light enough not to be taken for a cluster."""
    grey = photo @ _LUMA
    return np.repeat((255 - 0.25 * (255 - grey) - 20).round().astype(np.uint8)[..., None], 3, axis=2)


def outlined(picture: Pixels, source: Labels, grid: tuple[int, int], width: int = 1, shade: float = 0.0) -> Pixels:
    """The picture with a line wherever one cluster ends.

    Args:
        picture: ``[H, W, 3]`` uint8.
        source: ``[N0]`` cluster of each patch.
        grid: rows and columns of the patches.
        width: of the line, in pixels.
        shade: of the line, from 0, black, to 1, white.
    """
    drawn, size = picture.copy(), patch_size(picture, grid)
    ink = np.uint8(round(255 * shade))
    before, after = width // 2, width - width // 2
    for (x0, y0), (x1, y1) in _in_pixels(edges(source, grid), size):
        drawn[max(y0 - before, 0) : y1 + after, max(x0 - before, 0) : x1 + after] = ink
    return drawn


def enlarged(photo: Pixels, grid: tuple[int, int], least: int = 448) -> Pixels:
    """The photograph with every pixel repeated so often that its longer side is at least `least` pixels."""
    patch_size(photo, grid)
    times = max(1, -(-least // max(photo.shape[:2])))
    return per_pixel(photo, (times, times))


def _in_pixels(lines: Array, size: tuple[int, int]) -> list[list[list[int]]]:
    return (lines * [size[1], size[0]]).astype(np.int64).tolist()

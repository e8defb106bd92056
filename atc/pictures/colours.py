"""Colours by which clusters can be told apart."""

import functools
from collections.abc import Sequence

import numpy as np

from atc.pictures.regions import Array, Labels, Pixels, neighbours, patches_of

_LIGHTNESS = (0.62, 0.84, 0.48, 0.74)  # of the palette's rings, in OKLab
_HUES = 24
_CHROMA = 0.13


def distinct(sources: Sequence[Labels], grid: tuple[int, int]) -> list[Pixels]:
    """Colours for the clusters of successive stages.

    Within a stage, clusters that touch have clearly different colours, and colours repeat only once all 96 are
    in use. A cluster that grows keeps its colour: its part with most patches has it in the stage before.

    Args:
        sources: per stage ``[N0]``, each a coarsening of the one before; -1 = pruned.
        grid: rows and columns of the patches.

    Returns:
        Per stage ``[K, 3]`` uint8, K = largest token number + 1.
    """
    given: list[dict[int, int]] = []  # last stage first
    for number in reversed(range(len(sources))):
        source = sources[number]
        inherited = _parts(source, sources[number + 1], given[-1]) if given else {}
        given.append(_complete(source, grid, inherited))
    table = palette()[0]
    shades = []
    for source, chosen in zip(sources, reversed(given), strict=True):
        colours = np.zeros((len(patches_of(source)), 3), dtype=np.uint8)
        for token, colour in chosen.items():
            colours[token] = table[colour]
        shades.append(colours)
    return shades


def of_tokens(count: int) -> Pixels:
    """[count, 3] uint8: a colour for each token whatever it holds; colours repeat after all 96."""
    table = palette()[0]
    return table[np.arange(count) % len(table)]


def of_leaders(steps: Labels, grid: tuple[int, int]) -> Labels:
    """A colour of `palette` for every patch [N0], to be that of the token it leads (see `order.History.steps`).

    Drawn so, tokens that touch have clearly different colours after every single step.
    """
    leader = np.arange(grid[0] * grid[1])
    before = []
    for gone, into in steps:
        before.append(leader.copy())
        leader[leader == gone] = into
    chosen = _complete(leader, grid, {})
    # Backwards, a step takes one token apart. All others shrink, so that whom they touch has been seen to.
    for leader, (gone, _) in zip(reversed(before), reversed(steps), strict=True):
        chosen[int(gone)] = _choice(neighbours(leader, grid, int(gone)), chosen)
    return np.array([chosen[patch] for patch in range(len(leader))], dtype=np.int64)


def _parts(source: Labels, later: Labels, chosen: dict[int, int]) -> dict[int, int]:
    """Colours handed back to the largest part of each later cluster.

    They cannot clash: parts of different clusters touch only where the clusters do.
    """
    inherited = {}
    for whole, colour in chosen.items():
        parts, patches = np.unique(source[later == whole], return_counts=True)
        inherited[int(parts[patches.argmax()])] = colour
    return inherited


def _complete(source: Labels, grid: tuple[int, int], chosen: dict[int, int]) -> dict[int, int]:
    """The colours of all tokens, given those of some; the largest tokens choose first."""
    chosen, patches = dict(chosen), patches_of(source)
    for token in sorted(patches.nonzero()[0].tolist(), key=lambda token: (-patches[token], token)):
        if token not in chosen:
            chosen[token] = _choice(neighbours(source, grid, token), chosen)
    return chosen


def _choice(around: set[int], chosen: dict[int, int]) -> int:
    """A colour clearly different from those of the tokens around, and little used."""
    points = palette()[1]
    used = np.bincount(list(chosen.values()), minlength=len(points))
    near = points[[chosen[token] for token in around if token in chosen]]
    apart = np.linalg.norm(points[:, None] - near, axis=-1).min(axis=1, initial=1.0)
    # Beyond a clear difference, being unused counts more than being farther still.
    return int(np.argmax(np.minimum(apart, 0.16) - 0.1 * used + 0.01 * apart))


@functools.cache
def palette() -> tuple[Pixels, Array]:
    """96 colours as [96, 3] sRGB uint8, and as [96, 3] points of OKLab, where distance is perceived difference."""
    hue = np.arange(_HUES) * 2 * np.pi * 7 / _HUES  # steps of 105 degrees: successive colours are far apart
    rings = [np.stack([np.full(_HUES, light), *_ring(light, hue)], axis=1) for light in _LIGHTNESS]
    points = np.concatenate(rings)
    return (_to_srgb(points) * 255).round().astype(np.uint8), points


def _ring(light: float, hue: Array) -> tuple[Array, Array]:
    """The a and b of OKLab at each hue, at most `_CHROMA` from grey and inside sRGB."""
    chroma = np.full(_HUES, _CHROMA)
    for _ in range(40):
        linear = _linear(np.stack([np.full(_HUES, light), chroma * np.cos(hue), chroma * np.sin(hue)], axis=1))
        outside = ((linear < 0) | (linear > 1)).any(axis=1)
        chroma = np.where(outside, chroma * 0.96, chroma)
    return chroma * np.cos(hue), chroma * np.sin(hue)


def _linear(points: Array) -> Array:
    """OKLab [..., 3] -> linear sRGB (Ottosson, https://bottosson.github.io/posts/oklab/)."""
    cone = points @ np.array(
        [[1, 1, 1], [0.3963377774, -0.1055613458, -0.0894841775], [0.2158037573, -0.0638541728, -1.2914855480]]
    )
    mix = [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
    return cone**3 @ np.array(mix).T


def _to_srgb(points: Array) -> Array:
    linear = _linear(points).clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)

"""Scenes drawn from a number: objects with texture, clutter and occlusion, and everything known about them."""

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float32]

# An object that would hide another below this share of it is placed elsewhere: every label can be seen.
MIN_VISIBLE = 0.5

# Standard deviation of an object's hue around its kind's, in turns; neighbours on the circle are 0.1 apart. Colour
# says a lot but not all, as with real things, and a small model learns in minutes instead of hours.
HUE_SPREAD = 0.02


def _flower(u: Grid, v: Grid) -> Grid:
    return np.hypot(u, v) - (0.68 + 0.32 * np.cos(5 * np.arctan2(v, u)))


# Signed distance to the outline, in units of the object's radius: negative inside. u right, v down.
KINDS = {
    "bar": lambda u, v: np.maximum(abs(u) - 1, abs(v) - 0.32),
    "crescent": lambda u, v: np.maximum(np.hypot(u, v) - 1, 0.8 - np.hypot(u - 0.55, v)),
    "cross": lambda u, v: np.minimum(np.maximum(abs(u) - 1, abs(v) - 0.3), np.maximum(abs(u) - 0.3, abs(v) - 1)),
    "disc": lambda u, v: np.hypot(u, v) - 0.9,
    "flower": _flower,
    "half": lambda u, v: np.maximum(np.hypot(u, v) - 1, v),
    "hourglass": lambda u, v: np.maximum(abs(u) - 0.95, abs(v) - abs(u) * 0.9),
    "ring": lambda u, v: abs(np.hypot(u, v) - 0.76) - 0.22,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) - 0.8,
    "triangle": lambda u, v: np.maximum(v - 0.5, 0.866 * abs(u) - 0.5 * v - 0.5),
}
TEXTURES = ("plain", "stripes", "checks", "dots")


@dataclass(frozen=True)
class Scene:
    """A drawn picture and its annotation; n objects, farthest first.

    image: uint8 [S, S, 3]; kinds: int [n], positions in sorted KINDS; textures: int [n], positions in TEXTURES;
    masks: bool [n, S, S], the visible part of each; visible: float32 [n], its share of the object; boxes: float32
    [n, 4], x0 y0 x1 y1 in pixels around the masks.
    """

    image: NDArray[np.uint8]
    kinds: NDArray[np.int64]
    textures: NDArray[np.int64]
    masks: NDArray[np.bool_]
    visible: NDArray[np.float32]
    boxes: NDArray[np.float32]

    @property
    def label(self) -> int:
        """The kind of the object that most can be seen of."""
        return int(self.kinds[self.masks.sum((1, 2)).argmax()])

    @property
    def labels(self) -> NDArray[np.float32]:
        """[len(KINDS)], 1 for every kind in the picture."""
        labels = np.zeros(len(KINDS), dtype=np.float32)
        labels[self.kinds] = 1
        return labels


def draw(
    seed: int | tuple[int, ...],
    size: int = 56,
    objects: tuple[int, int] = (1, 4),
    radius: tuple[float, float] = (0.12, 0.24),
    clutter: int = 14,
    noise: float = 6.0,
    turn: float = 1.0,
) -> Scene:
    """Draw the scene of `seed`: always the same one for the same settings.

    Args:
        seed: of everything drawn.
        size: pixels per side.
        objects: fewest and most.
        radius: smallest and largest, in sides of the picture.
        clutter: strokes behind the objects.
        noise: standard deviation in grey levels of 255.
        turn: objects are turned by up to this share of a full turn; 0: all stand upright.
    """
    rng = np.random.default_rng(seed)
    canvas = _background(rng, size, clutter)
    drawn: list[tuple[int, int]] = []
    masks: list[NDArray[np.bool_]] = []
    areas: list[int] = []  # of the whole objects
    for _ in range(rng.integers(objects[0], objects[1] + 1)):
        kind, texture = int(rng.integers(len(KINDS))), int(rng.integers(len(TEXTURES)))
        r = size * rng.uniform(*radius)
        angle = rng.uniform(0, 2 * np.pi * turn)
        for _attempt in range(6):
            x, y = rng.uniform(r, size - r, 2)
            window, coverage, u, v = _cover(kind, x, y, r, angle, size)
            solid = coverage > 0.5
            left = (mask.sum() - (mask[window] & solid).sum() for mask in masks)
            if all(seen >= MIN_VISIBLE * area for seen, area in zip(left, areas, strict=True)):
                break
        else:
            continue
        for mask in masks:
            mask[window] &= ~solid
        mask = np.zeros((size, size), dtype=bool)
        mask[window] = solid
        paint = _paint(rng, kind, texture, u, v)
        canvas[window] += coverage[..., None] * (paint - canvas[window])
        drawn.append((kind, texture))
        masks.append(mask)
        areas.append(int(solid.sum()))
    canvas += noise * rng.standard_normal(canvas.shape, dtype=np.float32)
    stack = np.stack(masks)
    kinds, textures = np.array(drawn).T
    visible = (stack.sum((1, 2)) / areas).astype(np.float32)
    return Scene(canvas.clip(0, 255).astype(np.uint8), kinds, textures, stack, visible, boxes_of(stack))


def boxes_of(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Tight boxes x0 y0 x1 y1 (x1, y1 exclusive) of masks [n, H, W], none of them empty: float32 [n, 4]."""
    boxes = np.empty((len(masks), 4), dtype=np.float32)
    for axis, (low, high) in ((1, (0, 2)), (2, (1, 3))):
        hit: NDArray[np.bool_] = np.any(masks, axis=axis)
        boxes[:, low] = hit.argmax(axis=1)
        boxes[:, high] = hit.shape[1] - hit[:, ::-1].argmax(axis=1)
    return boxes


def _background(rng: np.random.Generator, size: int, clutter: int) -> Grid:
    """A slope of dull colour with faint strokes: [S, S, 3] in grey levels."""
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    colour = rng.uniform(60, 180) + rng.uniform(-20, 20, 3)
    across, down = rng.uniform(-35, 35, 3), rng.uniform(-35, 35, 3)
    canvas = (colour + ramp[None, :, None] * across + ramp[:, None, None] * down).astype(np.float32)
    unit = max(1, size // 56)  # a stroke keeps its size relative to the picture
    starts = rng.integers(0, size, (clutter, 2))
    extents = 1 + rng.integers(0, 2, (clutter, 2)) * rng.integers(2, 9, (clutter, 1))
    shades = rng.uniform(-50, 50, (clutter, 3))
    for (row, col), (height, width), shade in zip(starts, extents * unit, shades, strict=True):
        canvas[row : row + height, col : col + width] += shade
    return canvas


def _cover(
    kind: int, x: float, y: float, r: float, turn: float, size: int
) -> tuple[tuple[slice, slice], Grid, Grid, Grid]:
    """Where an object lies: its window, how much of each pixel there it covers, and its own coordinates (u, v)."""
    reach = 1.1 * r + 1
    rows, cols = (slice(max(0, int(c - reach)), min(size, int(c + reach) + 1)) for c in (y, x))
    across = (np.arange(cols.start, cols.stop, dtype=np.float32) + 0.5 - x)[None, :] / r
    down = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - y)[:, None] / r
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u, v = cos * across + sin * down, cos * down - sin * across
    distance = list(KINDS.values())[kind](u, v)
    return (rows, cols), np.clip(0.5 - r * distance, 0, 1), u, v  # half a pixel of soft edge


def _paint(rng: np.random.Generator, kind: int, texture: int, u: Grid, v: Grid) -> Grid:
    """Colour of every pixel of the window [h, w, 3]: two shades of a hue around the kind's own."""
    hue = (kind / len(KINDS) + HUE_SPREAD * rng.standard_normal()) % 1
    colour = 255 * np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.6, 1), rng.uniform(0.7, 1)))
    pitch = rng.uniform(4.5, 7.0)
    match TEXTURES[texture]:
        case "plain":
            share = np.zeros_like(u)
        case "stripes":
            share = np.sin(pitch * u) > 0
        case "checks":
            share = (np.sin(pitch * u) > 0) ^ (np.sin(pitch * v) > 0)
        case _:
            share = np.cos(pitch * u) + np.cos(pitch * v) > 0.7
    return (colour - share[..., None] * (0.6 * colour)).astype(np.float32)

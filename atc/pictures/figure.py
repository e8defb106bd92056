"""Rows of pictures as a figure: the input, then one picture per stage (layout of Fig. 5, arXiv 2409.11923)."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from atc.files import write_whole
from atc.pictures import colours, drawing
from atc.pictures.regions import Array, Pixels, edges, patch_size
from atc.pictures.settings import LOOKS, Look
from atc.pictures.snapshots import Snapshot


class Row(NamedTuple):
    """One image under one reducer."""

    title: str
    photo: Pixels  # [H, W, 3]
    grid: tuple[int, int]
    stages: Sequence[Snapshot]
    look: Look = "mean"


class Panel(NamedTuple):
    """One picture of a row, with the outlines to lay over it."""

    picture: Pixels  # [H, W, 3]
    lines: Array  # [M, 2, 2] in pixels, (x, y)
    caption: str


def panels(row: Row) -> list[Panel]:
    """The input and one panel per stage; ValueError for an unknown look or maps that do not fit the photograph."""
    if row.look not in LOOKS:
        raise ValueError(f"unknown look '{row.look}': there are {', '.join(LOOKS)}")
    size, sources = patch_size(row.photo, row.grid), [stage.source for stage in row.stages]
    if row.look == "distinct":
        soft = any(stage.shares is not None for stage in row.stages)
        counts = [stage.source.max() + 1 if stage.shares is None else stage.shares.shape[1] for stage in row.stages]
        shades = [colours.of_tokens(count) for count in counts] if soft else colours.distinct(sources, row.grid)
        pictures = [
            drawing.painted(row.photo, stage.source, row.grid, shade)
            if stage.shares is None
            else drawing.mixed(row.photo, stage.shares, row.grid, shade)
            for stage, shade in zip(row.stages, shades, strict=True)
        ]
    else:
        draw = drawing.mean_colours if row.look == "mean" else drawing.detailed
        pictures = [
            draw(row.photo, stage.source, row.grid)
            if stage.shares is None
            else drawing.mixed(row.photo, stage.shares, row.grid)
            for stage in row.stages
        ]
    whole = Panel(row.photo, np.empty((0, 2, 2)), f"{row.grid[0] * row.grid[1]} patches")
    return [whole] + [
        Panel(
            picture,
            np.empty((0, 2, 2)) if stage.shares is not None else edges(stage.source, row.grid) * [size[1], size[0]],
            f"{stage.tokens} token" + "s" * (stage.tokens != 1) + ", shared" * (stage.shares is not None),
        )
        for picture, stage in zip(pictures, row.stages, strict=True)
    ]


def figure(rows: Sequence[Row], inches: float = 2.0) -> Figure:
    """All rows, titled at the left, stages titled at the top, token counts beneath; a panel is `inches` wide.

    A row with fewer stages than another leaves its last places empty. ValueError if there are no rows.
    """
    if not rows:
        raise ValueError("nothing to draw: no rows")
    drawn = [panels(row) for row in rows]
    columns = max(len(row) for row in drawn)
    tall = max(row.photo.shape[0] / row.photo.shape[1] for row in rows)
    with matplotlib.rc_context({"font.family": "sans-serif", "font.size": 9}):
        tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.01)
        sheet = Figure(figsize=(columns * inches + 0.3, len(rows) * (inches * tall + 0.2) + 0.3), layout=tight)
        axes = sheet.subplots(len(rows), columns, squeeze=False)
        for row, shown, line in zip(rows, drawn, axes, strict=True):
            for ax in line:
                ax.set_axis_off()
            for ax, panel in zip(line, shown, strict=False):
                show(ax, panel)
            line[0].text(-0.04, 0.5, row.title, rotation=90, ha="right", va="center", transform=line[0].transAxes,
                         fontsize=10, fontweight="bold", parse_math=False)  # fmt: skip
        for ax, name in zip(axes[0], _names(rows), strict=True):
            ax.set_title(name, fontsize=10, pad=4)
    return sheet


def save(sheet: Figure, path: Path, dpi: int = 150, palette: int | None = None) -> None:
    """Write the figure as its suffix says, .png, .svg or .pdf, whole or not at all.

    Args:
        sheet: the figure.
        path: the file.
        dpi: pixels per inch.
        palette: for .png: at most so many colours, 256 or fewer, which makes a file of a third of the size.

    Raises:
        ValueError: another number of colours.
    """
    if palette is not None and not 1 <= palette <= 256:
        raise ValueError(f"a palette of {palette} colours: a PNG has from 1 to 256")
    # Text stays text, and the same figure is the same file.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    drawn, kind = io.BytesIO(), path.suffix.removeprefix(".")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "atc"}):
        sheet.savefig(drawn, format=kind, dpi=dpi, metadata=metadata, facecolor="white")
    if palette is not None and kind == "png":
        with Image.open(drawn) as picture:
            few = picture.convert("RGB").quantize(palette, method=Image.Quantize.MAXCOVERAGE, kmeans=1)
        drawn = io.BytesIO()
        few.save(drawn, "PNG", optimize=True)
    write_whole(path, drawn.getvalue())


def show(ax: Axes, panel: Panel) -> None:
    """Draw one picture, with its outlines, and its caption beneath."""
    height, width = panel.picture.shape[:2]
    ax.imshow(panel.picture, extent=(0, width, height, 0), interpolation="nearest")
    ax.add_collection(LineCollection(list(panel.lines), colors="black", linewidths=0.5, capstyle="projecting"))
    ax.text(0.5, -0.015, panel.caption, ha="center", va="top", transform=ax.transAxes, fontsize=8, color="0.3")


def _names(rows: Sequence[Row]) -> list[str]:
    """Column titles; a stage's block is named if all rows agree on it."""
    longest = max(rows, key=lambda row: len(row.stages))
    names = ["input"]
    for number in range(len(longest.stages)):
        blocks = {row.stages[number].block for row in rows if number < len(row.stages)}
        names.append(f"stage {number + 1}" + (f", block {blocks.pop()}" if len(blocks) == 1 else ""))
    return names

"""Generated images in rows and columns, as in Figure 6: one image of each run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from atc.config.sections import IMAGE
from atc.printable import printable
from atc.report.cells import Cell
from atc.report.display_names import METHODS
from atc.report.escape import is_number
from atc.report.layout import Layout
from atc.runs import identity
from atc.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 192  # pixels of an image in the figure


def draw(layout: Layout, cells: Sequence[Cell]) -> Figure:
    """The figure: the values of `rows` down, those of `columns` across; first, the image without reduction.

    Args:
        layout: what the sweep file says; `image` is the file that is shown of each run, None: the first of all runs.
        cells: the results, with the runs behind them.

    Returns:
        The figure; a place without an image is grey.
    """
    reduced = [cell for cell in cells if cell.where["reducer"] != "none"]
    dense = next((cell for cell in cells if cell.where["reducer"] == "none"), None)
    rows = _ordered({_key(cell, layout.rows) for cell in reduced}, descending=True)
    columns = list(dict.fromkeys(_key(cell, layout.columns) for cell in reduced)) or [()]
    file = layout.image or _first_image(cells)
    from matplotlib.figure import Figure  # tables need no matplotlib

    figure = Figure(figsize=(1.5 * len(columns) + 0.9, 1.5 * (len(rows) + 1) + 0.5), layout="constrained", dpi=150)
    panels = figure.subplots(len(rows) + 1, len(columns), squeeze=False)
    for across, column in enumerate(columns):
        panels[0][across].set_title(printable(" ".join(METHODS.get(one, one) for one in column)))
        _show(panels[0][across], dense, file)
        for down, row in enumerate(rows, start=1):
            there = (one for one in reduced if (_key(one, layout.rows), _key(one, layout.columns)) == (row, column))
            _show(panels[down][across], next(there, None), file)
    for down, row in enumerate([("all tokens",), *rows]):
        panels[down][0].set_ylabel(printable(" ".join(_readable(one, layout.rows) for one in row)))
    if (said := _prompt(cells, file)) is not None:
        figure.suptitle(printable(said[:150]), fontsize=7)
    return figure


def _key(cell: Cell, axes: Sequence[str]) -> tuple[str, ...]:
    return tuple(cell.where.get(axis, "") for axis in axes)


def _ordered(keys: set[tuple[str, ...]], descending: bool) -> list[tuple[str, ...]]:
    def rank(key: tuple[str, ...]) -> tuple[Any, ...]:
        return tuple((0, float(one), "") if is_number(one) else (1, 0.0, one) for one in key)

    return sorted(keys, key=rank, reverse=descending)


def _readable(value: str, axes: Sequence[str]) -> str:
    return f"{float(value):.0%}" if axes == ("keep_rate",) and is_number(value) else value


def _show(panel: Axes, cell: Cell | None, file: str | None) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    panel.grid(False)
    for side in panel.spines.values():
        side.set_visible(False)
    pixels = None if cell is None or file is None else _pixels(cell, file)
    if pixels is None:
        panel.set_facecolor("0.88")
        panel.set_aspect("equal")
        panel.text(0.5, 0.5, "not run", transform=panel.transAxes, ha="center", va="center", color="0.45")
        return
    panel.imshow(pixels, interpolation="none")


def _pixels(cell: Cell, file: str) -> Any:
    for record in reversed(cell.records):
        for directory in directories(record):
            try:
                with Image.open(directory / file) as opened:
                    picture = opened.convert("RGB")
            except (OSError, ValueError, SyntaxError):
                continue
            picture.thumbnail((SIDE, SIDE))
            return np.asarray(picture)
    return None


def directories(record: Record) -> list[Path]:
    """Where the images of a run may be: where it wrote them, or where a run with its settings does so here."""
    said = record.part("images_directory")
    own = [Path(said)] if isinstance(said, str) else []
    return [*own, Path("runs", "images", identity.image_set(dict(record.config)))]


def _first_image(cells: Sequence[Cell]) -> str | None:
    """The first of the images that all runs have."""
    common: set[str] | None = None
    for record in (cell.records[-1] for cell in cells if cell.records):
        folder = next((one for one in directories(record) if one.is_dir()), None)
        if folder is not None:
            names = {path.name for path in folder.iterdir() if IMAGE.fullmatch(path.name)}
            common = names if common is None else common & names
    return min(common, key=lambda name: [int(part) for part in name[:-4].split("_")]) if common else None


def _prompt(cells: Sequence[Cell], file: str | None) -> str | None:
    for record in (cell.records[-1] for cell in cells if cell.records and file):
        for directory in directories(record):
            try:
                with Image.open(directory / str(file)) as picture:
                    said = picture.info.get("Description")
            except (OSError, ValueError, SyntaxError):
                continue
            if isinstance(said, str):
                return said
    return None

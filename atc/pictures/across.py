"""Several images down, methods across, the last stage of each (layout of Fig. 5, arXiv 2409.11923)."""

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from atc.pictures import figure
from atc.pictures.figure import Row


def across(images: Sequence[Sequence[Row]], inches: float = 1.6) -> Figure:
    """A line for each image and look: the input, then its tokens after the last stage of every method.

    Args:
        images: for each image its rows as `atc.pictures.methods.rows` makes them, the looks of a method in turn; those
            of every image in the same order.
        inches: how wide a picture is.

    Returns:
        The figure, with the methods at its top.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not images or not images[0]:
        raise ValueError("nothing to draw: no images or no methods")
    titles = list(dict.fromkeys(row.title for row in images[0]))
    looks = list(dict.fromkeys(row.look for row in images[0]))
    lines = [[row for row in rows if row.look == look] for rows in images for look in looks]
    tall = max(row.photo.shape[0] / row.photo.shape[1] for line in lines for row in line)
    columns = len(titles) + 1
    with matplotlib.rc_context({"font.family": "sans-serif", "font.size": 9}):
        tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.01)
        sheet = Figure(figsize=(columns * inches + 0.1, len(lines) * (inches * tall + 0.2) + 0.3), layout=tight)
        for line, axes in zip(lines, sheet.subplots(len(lines), columns, squeeze=False), strict=True):
            drawn = [figure.panels(row) for row in line]
            for ax, panel in zip(axes, [drawn[0][0], *(panels[-1] for panels in drawn)], strict=True):
                ax.set_axis_off()
                figure.show(ax, panel)
        for ax, title in zip(sheet.axes[:columns], ["input", *titles], strict=True):
            ax.set_title(title, fontsize=10, pad=4, parse_math=False)
    return sheet

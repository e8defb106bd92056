"""Figures of a study of reduction patterns: similarities, correlation matrices, proxies, depth maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from atc.printable import printable
from atc.report import fixed_patterns
from atc.report.figures import MARKERS, sheet, style
from atc.report.layout import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, Any]
NAMES = {
    "ioa": "IoA",
    "iou": "IoU",
    "homogeneity": "homogeneity",
    "nmi": "NMI",
    "procrustes": "Procrustes (distance)",
    "cka": "CKA (distance)",
    "pwcca": "PWCCA (distance)",
    "mean_cca_corr": "mean CCA",
}
PAIRS = {"keep_rate": "keep rates", "capacity": "capacities and keep rate", "method": "keep rate"}


def draw(layout: Layout, rows: Sequence[Row]) -> Figure:
    """The figure of a layout.

    Args:
        layout: what the sweep file says.
        rows: of a study, those that it shows.

    Returns:
        The figure.
    """
    kinds: dict[str, Callable[[Layout, Sequence[Row]], Figure]] = {
        "similarity": _similarity,
        "matrices": _matrices,
        "proxies": _proxies,
        "depth_maps": _depth_maps,
        "fixed_patterns": lambda _, rows: fixed_patterns.draw(rows),
    }
    with style({"axes.grid": layout.kind in ("similarity", "fixed_patterns")}):
        return kinds[layout.kind](layout, rows) if rows else _nothing()


def label_of(row: Row) -> str:
    """What a line of similarities is: a method, or two."""
    one, other = row["method_a"], row["method_b"]
    return one if one == other else f"{one} – {other}"


def pair_of(axis: str, row: Row) -> str:
    """What is compared: such as "90-70" of keep rates in percent, "base-small 50" of capacities at one."""
    rates = [_percent(row[f"keep_rate_{side}"]) for side in "ab"]
    rate = rates[0] if rates[0] == rates[1] else "-".join(filter(None, rates))
    if axis == "keep_rate":
        return f"{rates[0]}-{rates[1]}"
    if axis == "method":
        return rate
    name = "capacity" if axis == "capacity" else "data_set"
    return f"{row[f'{name}_a']}-{row[f'{name}_b']} {rate}".strip()


def _similarity(layout: Layout, rows: Sequence[Row]) -> Figure:
    """A row of panels per measure, a column per block; a line per method, dotted: by chance."""
    measures = [name for name in NAMES if any(row["measure"] == name for row in rows)]
    blocks = sorted({row["block"] for row in rows})
    labels = list(dict.fromkeys(row["label"] for row in rows))
    figure = sheet(2.4 * len(blocks) + 1, 1.7 * len(measures) + 1)
    panels = figure.subplots(len(measures), len(blocks), squeeze=False, sharex=True, sharey="row")
    places = list(dict.fromkeys(pair_of(layout.x, row) for row in rows))
    for i, measure in enumerate(measures):
        for j, block in enumerate(blocks):
            own = [row for row in rows if (row["measure"], row["block"]) == (measure, block)]
            _lines(panels[i][j], layout.x, own, labels, places)
            panels[0][j].set_title(f"block {block}")
            if not own:
                panels[i][j].set_axis_off()
        panels[i][0].set_ylabel(NAMES[measure])
    for j in range(len(blocks)):
        panels[-1][j].set_xticks(range(len(places)), [printable(place) for place in places], rotation=90)
        panels[-1][j].set_xlabel(PAIRS.get(layout.x, layout.x))
    drawn = {text: line for axes in panels.flat for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(drawn.values()), list(drawn), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _lines(axes: Axes, axis: str, rows: Sequence[Row], labels: Sequence[str], places: Sequence[str]) -> None:
    for number, label in enumerate(labels):
        own = [row for row in rows if row["label"] == label and row["mean"] is not None]
        x = [places.index(pair_of(axis, row)) for row in own]
        colour, marker = f"C{number % 10}", MARKERS[number % len(MARKERS)]
        spread = [row["std"] or 0.0 for row in own]
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 3, "linewidth": 1}
        if own:
            axes.errorbar(x, [row["mean"] for row in own], spread, label=" " * label.startswith("_") + label, **look)
        chance = [(place, row["chance"]) for place, row in zip(x, own, strict=True) if row.get("chance") is not None]
        if chance:
            axes.plot(*zip(*chance, strict=True), color=colour, linestyle=":", linewidth=0.8)


def _matrices(layout: Layout, rows: Sequence[Row]) -> Figure:
    """A matrix of correlations between depth maps per method and keep rate; numbers in the cells."""
    side = layout.x
    held = {"method": "keep_rate", "keep_rate": "method"}.get(side, "method")  # panels from left to right
    down = next(name for name in ("keep_rate", "capacity") if name not in (side, held))
    values = list(dict.fromkeys(row[f"{side}_{which}"] for row in rows for which in "ab"))
    if side == "keep_rate":
        values.sort(reverse=True)
    columns = list(dict.fromkeys(row[f"{held}_a"] for row in rows))
    lines = list(dict.fromkeys((row["capacity_a"], row[f"{down}_a"]) for row in rows))
    size = 0.35 * len(values) + 0.8
    figure = sheet(size * len(columns) + 1, size * len(lines) + 0.6)
    panels = figure.subplots(len(lines), len(columns), squeeze=False)
    for i, line in enumerate(lines):
        for j, column in enumerate(columns):
            matrix = np.full((len(values), len(values)), np.nan)
            for row in rows:
                if (
                    row[f"{held}_a"] == column
                    and (row["capacity_a"], row[f"{down}_a"]) == line
                    and row["mean"] is not None
                ):
                    one, other = sorted(values.index(row[f"{side}_{which}"]) for which in "ab")
                    matrix[one, other] = row["mean"]
            between = side == "data_set"  # as on the paper's page; other maps may be opposite
            _matrix(panels[i][j], matrix, "viridis" if between else "RdBu", (0 if between else -1, 1))
            names = [_name(value) for value in values]
            panels[i][j].set_xticks(range(len(values)), names, rotation=90)
            panels[i][j].set_yticks(range(len(values)), names if j == 0 else [])
            shown = [line[0], *([] if down == "capacity" else [_name(line[1])])] if len(lines) > 1 else []
            panels[i][j].set_title(printable(" ".join([_name(column), *shown])))
    return figure


def _proxies(layout: Layout, rows: Sequence[Row]) -> Figure:
    """A block per anchor: measures and blocks down, capacities and keep rates across; signed correlation, n above."""
    anchors = list(dict.fromkeys(row["anchor"] for row in rows))
    heads = list(dict.fromkeys((row["data_set"], row["capacity"], row["keep_rate"]) for row in rows))
    most = max(len({(row["measure"], row["block"]) for row in rows if row["anchor"] == anchor}) for anchor in anchors)
    width = len(anchors) * (0.42 * len(heads) + 1.9)
    figure = sheet(width, 0.2 * most + 1.8)
    panels = figure.subplots(1, len(anchors), squeeze=False)[0]
    for axes, anchor in zip(panels, anchors, strict=True):
        own = [row for row in rows if row["anchor"] == anchor]
        down = list(dict.fromkeys((row["measure"], row["block"]) for row in own))
        matrix = np.full((len(down), len(heads)), np.nan)
        counts: dict[int, set[int]] = {}
        for row in own:
            column = heads.index((row["data_set"], row["capacity"], row["keep_rate"]))
            counts.setdefault(column, set()).add(row["n"])
            if row["rho"] is not None:
                matrix[down.index((row["measure"], row["block"])), column] = row["rho"]
        _matrix(axes, matrix, "RdBu", (-1, 1))
        axes.set_yticks(range(len(down)), [f"{name} {'' if block is None else block}".strip() for name, block in down])
        several = len({head[:2] for head in heads}) > 1
        texts = [
            " ".join([*(str(head) for head in heads[i][:2] if several), _name(heads[i][2])]) for i in range(len(heads))
        ]
        ns = ["n=" + ", ".join(map(str, sorted(counts.get(i, ())))) for i in range(len(heads))]
        axes.set_xticks(
            range(len(heads)), [printable(f"{t} {n}".strip()) for t, n in zip(texts, ns, strict=True)], rotation=90
        )
        axes.set_title(printable(f"anchor: {anchor}" if layout.x == "method" else str(anchor)))
    return figure


def _depth_maps(layout: Layout, rows: Sequence[Row]) -> Figure:
    """Mean depth of each patch: methods down, keep rates (or what else differs) across."""
    methods = list(dict.fromkeys(row["method"] for row in rows if row["method"] != "none"))
    heads = list(
        dict.fromkeys((row["data_set"], row["capacity"], row["keep_rate"]) for row in rows if row["method"] != "none")
    )
    figure = sheet(1.3 * len(heads) + 1.2, 1.35 * len(methods) + 0.5)
    panels = figure.subplots(max(len(methods), 1), max(len(heads), 1), squeeze=False)
    low, high = min(min(row["blocks"], default=1) for row in rows) - 1, max(row["depth"] for row in rows)
    if any(row["blocks"] for row in rows):
        low = min(min(row["blocks"]) for row in rows if row["blocks"]) - 1
    image = None
    for axes in panels.flat:
        axes.set_axis_off()
    for row in rows:
        if row["method"] == "none":
            continue
        place = heads.index((row["data_set"], row["capacity"], row["keep_rate"]))
        axes = panels[methods.index(row["method"])][place]
        image = axes.imshow(np.array(row["mean"]), vmin=low, vmax=high, cmap="viridis")
        axes.set_title(printable(f"{row['method']} {_name(row['keep_rate'])}"), fontsize=7)
    if image is not None:
        figure.colorbar(image, ax=panels, shrink=0.6, label="mean depth, blocks")
    return figure


def _matrix(axes: Axes, matrix: Any, colours: str, limits: tuple[float, float]) -> None:
    """A matrix with its numbers, light ones on dark cells."""
    image = axes.imshow(matrix, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for (i, j), value in np.ndenumerate(matrix):
        if not np.isnan(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.45 else "white"
            axes.text(j, i, f"{value:.2f}".replace("0.", "."), ha="center", va="center", fontsize=5, color=ink)


def _nothing() -> Figure:
    figure = sheet(4, 2)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, "not yet run", ha="center", va="center", color="grey")
    return figure


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{100 * rate:g}"


def _name(value: Any) -> str:
    return "" if value is None else f"{100 * value:g} %" if isinstance(value, float) else printable(str(value))

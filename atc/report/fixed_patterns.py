"""How alike patterns are to fixed ones, such as radial ones that look at no image: a panel per method and keep rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from atc.printable import printable
from atc.report.figures import MARKERS, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, Any]
Key = tuple[str, ...]
NONE = "none"  # the reducer of a run without reduction, which keeps every patch


def rows_of(similarities: Sequence[Row], fixed: Sequence[str]) -> list[Row]:
    """The IoU of what methods keep and what fixed patterns keep at the same keep rate.

    Args:
        similarities: rows of a study.
        fixed: the methods whose patterns are the same for every image.

    Returns:
        Rows with `method`, `pattern`, `capacity`, `data_set`, `keep_rate`, `block`, `mean`, `std` and `chance`, but for
        pairs of fixed patterns.
    """
    found: dict[tuple[Any, ...], Row] = {}
    for row in similarities:
        if row["axis"] != "method" or row["measure"] != "iou" or row["keep_rate_a"] != row["keep_rate_b"]:
            continue
        for one, other in ("ab", "ba"):
            method, pattern = row[f"method_{one}"], row[f"method_{other}"]
            if pattern in fixed and method not in (*fixed, NONE):
                about = {part: row[f"{part}_{one}"] for part in ("data_set", "capacity", "keep_rate")}
                numbers = {part: row.get(part) for part in ("mean", "std", "chance")}
                key = {"method": method, **about, "block": row["block"], "pattern": pattern}
                found.setdefault(tuple(key.values()), {**key, **numbers})
    turn = {pattern: place for place, pattern in enumerate(fixed)}
    return sorted(found.values(), key=lambda row: turn[row["pattern"]])


def cells_of(row: Row) -> tuple[Key, Mapping[Key, str]]:
    """The place of a row in the table, and its texts by column."""
    rate = "" if row["keep_rate"] is None else f"{row['keep_rate']:g}"
    key = row["method"], row["capacity"], row["data_set"], rate, str(row["block"])
    texts: dict[Key, str] = {(row["pattern"],): "–" if row["mean"] is None else f"{row['mean']:.3f}"}
    if row["chance"] is not None:
        texts[(f"{row['pattern']} chance",)] = f"{row['chance']:.3f}"
    return key, texts


def draw(rows: Sequence[Row]) -> Figure:
    """A panel per method (down) and keep rate (across), stages along it; a line per pattern, dotted: by chance."""
    places = ("method", "capacity", "data_set")
    down = list(dict.fromkeys(tuple(row[part] for part in places) for row in rows))
    across = sorted({row["keep_rate"] for row in rows}, reverse=True)
    patterns = list(dict.fromkeys(row["pattern"] for row in rows))
    figure = sheet(2.1 * len(across) + 1, 1.6 * len(down) + 1)
    panels = figure.subplots(len(down), len(across), squeeze=False, sharex=True, sharey=True)
    several = [part for number, part in enumerate(places) if number and len({one[number] for one in down}) > 1]
    for i, line in enumerate(down):
        for j, rate in enumerate(across):
            own = [row for row in rows if tuple(row[part] for part in places) == line and row["keep_rate"] == rate]
            _panel(panels[i][j], own, patterns)
            named = [line[0], *(line[places.index(part)] for part in several), f"{100 * rate:g} %"]
            panels[i][j].set_title(printable(" ".join(named)), fontsize=7)
        panels[i][0].set_ylabel("IoU")
    for axes in panels[-1]:
        axes.set_xlabel("block")
    drawn = {text: line for axes in panels.flat for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(drawn.values()), list(drawn), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _panel(axes: Axes, rows: Sequence[Row], patterns: Sequence[str]) -> None:
    blocks = sorted({row["block"] for row in rows})
    for number, pattern in enumerate(patterns):
        own = sorted((row for row in rows if row["pattern"] == pattern), key=lambda row: row["block"])
        known = [row for row in own if row["mean"] is not None]
        x = [blocks.index(row["block"]) for row in known]
        look: dict[str, Any] = {"color": f"C{number}", "marker": MARKERS[number % len(MARKERS)], "markersize": 3}
        spread = [row["std"] or 0.0 for row in known]
        if known:
            axes.errorbar(x, [row["mean"] for row in known], spread, label=printable(pattern), linewidth=1, **look)
        chance = [(place, row["chance"]) for place, row in zip(x, known, strict=True) if row["chance"] is not None]
        if chance:
            axes.plot(*zip(*chance, strict=True), color=f"C{number}", linestyle=":", linewidth=0.8)
    axes.set_xticks(range(len(blocks)), [str(block) for block in blocks])
    axes.set_ylim(0, 1.05)

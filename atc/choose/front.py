"""The picture of what was tried: agreement against cost, with the front."""

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from atc.choose.search import Search, Tried
from atc.files import write_whole

MARKERS = "osD^vP*X<>hp"
COST = {"gflops": "GFLOPs", "latency": "time of a batch"}


def draw(search: Search, chosen: Tried, cost: str, named: Sequence[str]) -> Figure:
    """The figure: small dots for all that was tried, larger marks for some methods, a line for the front.

    Args:
        search: what was tried.
        chosen: the best within the budget, which is ringed.
        cost: "gflops" or "latency".
        named: methods with a mark and an entry of the legend of their own.
    """
    with rc_context({"font.size": 8, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = figure.add_subplot()
        front = search.front()
        if len(front) > 1:
            axes.step(*_points(front), where="post", color="0.5", linewidth=1, label="front", zorder=1)
        others = [one for one in search.tried if one.candidate.reducer not in named]
        if others:
            axes.plot(*_points(others), linestyle="", marker=".", color="0.7", label="other methods", zorder=2)
        for number, name in enumerate(named):
            own = [one for one in search.tried if one.candidate.reducer == name]
            axes.plot(
                *_points(own), linestyle="", marker=MARKERS[number % len(MARKERS)], markersize=4, label=name, zorder=3
            )
        axes.plot(*_points([chosen]), "o", markersize=11, markerfacecolor="none", color="black", label="chosen")
        axes.axvline(chosen.budget, color="0.6", linestyle=":", linewidth=1)
        axes.set_xlabel(f"{COST[cost]}, share of the dense model")
        axes.set_ylabel("agreement with the dense model, %")
        axes.legend(loc="lower right")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure whole; its suffix says how."""
    out = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "atc"}):
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix[1:])
        figure.savefig(out, format=path.suffix[1:], dpi=200, metadata=undated)
    write_whole(path, out.getvalue())


def _points(some: Sequence[Tried]) -> tuple[list[float], list[float]]:
    return [one.cost for one in some], [100 * one.agreement.top1 for one in some]

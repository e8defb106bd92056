"""What python -m atc.study computes, prints and writes."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from atc import provenance
from atc.files import write_json, write_whole
from atc.printable import printable
from atc.study import depth, proxy, similarity
from atc.study.page import write_page
from atc.study.runs import AXES, NONE, Axis, TracedRun

Row = dict[str, Any]
FUNCTIONS = (similarity.kept_patches, similarity.merged_patches, similarity.cls_features, similarity.depth_maps)


def similarity_of(runs: Sequence[TracedRun], axis: Axis | None, name: str, output: Path, **_: Any) -> list[Path]:
    """Print and write how alike runs are.

    Args:
        runs: that are compared.
        axis: along which; None: all.
        name: of the file.
        output: where it is written.
        **_: options of other commands.

    Returns:
        The files.

    Raises:
        ValueError: no two runs can be compared.
    """
    rows = _similarities(runs, AXES if axis is None else (axis,))
    if not rows:
        along = "any axis" if axis is None else axis
        raise ValueError(f"no two of the {len(runs)} runs can be compared along {along}: {_keys(runs)}")
    _show(f"Similarity of {len(runs)} runs", (_short(row) for row in rows))
    return [_write_csv(output / f"similarity_{name}.csv", rows)]


def depth_of(runs: Sequence[TracedRun], axis: Axis | None, name: str, output: Path, **_: Any) -> list[Path]:
    """Print and write depth maps and the shares of tokens that are left, and a page of them; see `similarity_of`."""
    maps = _maps(runs)
    shown = [
        {
            "run": row["key"],
            "mean depth": f"{row['overall'][0]:.2f} ± {row['overall'][1]:.2f}" if row["kept"] else "merges",
            **{f"block {block}": f"{rate[0]:.3f}" for block, rate in zip(row["blocks"], row["rates"], strict=True)},
        }
        for row in maps
    ]
    _show("Depth of patches, and the share of tokens left", shown)
    page = write_page(_rounded(maps), output / f"depth_{name}.html")
    return [write_json(output / f"depth_{name}.json", maps, indent=1), page]


def proxy_of(
    runs: Sequence[TracedRun],
    axis: Axis | None,
    name: str,
    output: Path,
    anchors: Sequence[str] = proxy.ANCHORS,
    resamples: int = 1000,
) -> list[Path]:
    """Print and write whether similarity goes with a difference in score.

    Args:
        runs: as of `similarity_of`.
        axis: likewise; None: method.
        name: likewise.
        output: likewise.
        anchors: the methods that others are compared with along method.
        resamples: of the bootstrap.

    Returns:
        The files.

    Raises:
        ValueError: no two runs can be compared.
    """
    axis = axis or "method"
    rows = proxy.proxies(_similarities(runs, (axis,)), axis, anchors, resamples)
    if not rows:
        raise ValueError(f"no proxies along {axis}: anchors {', '.join(anchors)}, runs {_keys(runs)}")
    _show(f"Rank correlation with the difference in score, along {axis}", map(_proxy, rows))
    return [_write_csv(output / f"proxy_{name}.csv", rows)]


def all_of(
    runs: Sequence[TracedRun],
    axis: Axis | None,
    name: str,
    output: Path,
    anchors: Sequence[str] = proxy.ANCHORS,
    resamples: int = 1000,
) -> list[Path]:
    """Write all of it to one file for atc.report, arguments as of `proxy_of`."""
    axes = AXES if axis is None else (axis,)
    rows = _similarities(runs, axes)
    proxies = [row for one in axes for row in proxy.proxies(rows, one, anchors, resamples)]
    sides = ("method", "keep_rate", "capacity", "data_set", "score")
    numbers = {tuple(getattr(run, side) for side in sides): number for number, run in enumerate(runs)}
    short = []
    for row in rows:
        a, b = (numbers[tuple(row[f"{side}_{which}"] for side in sides)] for which in "ab")
        if row["axis"] != "method" or a < b:  # the other order says the same, but for what has a direction
            names = ("axis", "block", "measure", "mean", "std", "images", "chance", "adjusted", "enough")
            short.append({"a": a, "b": b, **{name: row.get(name) for name in names}})
    found = {
        "runs": [{side: getattr(run, side) for side in sides} | {"images": run.trace.images} for run in runs],
        "similarity": _columns(short),
        "proxies": _columns(proxies),
        "maps": _rounded(_maps(runs)),
        **{part: provenance.origin().get(part) for part in ("commit", "versions")},
    }
    return [write_json(output / f"patterns_{name}.json", found, indent=None)]


def _columns(rows: Sequence[Row]) -> Row:
    """Rows as a list of names and one of values."""
    heads = list(dict.fromkeys(key for row in rows for key in row))
    return {"columns": heads, "rows": [[_rounded(row.get(head)) for head in heads] for row in rows]}


def _rounded(value: Any) -> Any:
    """Numbers with six digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


def _similarities(runs: Sequence[TracedRun], axes: Iterable[Axis]) -> list[Row]:
    return [row for axis in axes for function in FUNCTIONS for row in function(runs, axis)]


def _maps(runs: Sequence[TracedRun]) -> list[Row]:
    maps = []
    for run in runs:
        found = depth.patterns(run.trace)
        about = {key: getattr(run, key) for key in ("key", "method", "keep_rate", "capacity", "data_set")}
        numbers = {"mean": found.mean.tolist(), "std": found.std.tolist(), "overall": found.overall}
        known = {"kept": run.trace.kept or run.method == NONE, "blocks": run.trace.blocks, "depth": run.trace.depth}
        maps.append({**about, **known, **numbers, "rates": found.rates, "images": run.trace.images})
    return maps


def _short(row: Row) -> Row:
    """A row of similarities for the terminal."""
    sides = [
        " ".join(str(row[f"{part}_{side}"]) for part in ("method", "capacity", "data_set", "keep_rate"))
        for side in "ab"
    ]
    spread = "" if row["std"] is None else f" ± {row['std']:.3f}"
    other = row.get("chance") if row.get("adjusted") is None else row["adjusted"]
    label = {"iou": "", "ioa": "", "nmi": "adjusted "}.get(row["measure"], "")
    return {
        "axis": row["axis"],
        "A": sides[0].replace(" None", ""),
        "B": sides[1].replace(" None", ""),
        "block": "" if row["block"] is None else str(row["block"]),
        "measure": row["measure"],
        "mean": f"{row['mean']:.3f}{spread}" + ("" if row.get("enough", True) else " (too few images)"),
        "chance": "" if other is None else f"{label}{other:.3f}",
    }


def _proxy(row: Row) -> Row:
    """A row of proxies for the terminal."""
    none = math.isnan(row["rho"])
    return {
        "anchor": row["anchor"],
        **{key: "" if row[key] is None else str(row[key]) for key in ("data_set", "capacity", "keep_rate", "block")},
        "measure": row["measure"],
        # One column that is constant, or too few pairs: there is no correlation
        "rho": "–" if none else f"{row['rho']:.2f} [{row['rho_low']:.2f}, {row['rho_high']:.2f}]",
        "p (permutations)": "–" if none else f"{row['permutation_p']:.3f}",
        "tau": "–" if none else f"{row['tau']:.2f}",
        "n": str(row["n"]),
    }


def _show(title: str, rows: Iterable[Row]) -> None:
    """Print rows as a table, as wide as need be."""
    rows = list(rows)
    heads = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for head in heads:
        table.add_column(head, no_wrap=True)
    for row in rows:
        table.add_row(*(printable(row.get(head, "")) for head in heads))
    out = io.StringIO()
    Console(file=out, width=1000, markup=False, emoji=False, highlight=False).print(table)
    print("\n".join(line.rstrip() for line in out.getvalue().splitlines()))


def _write_csv(path: Path, rows: Sequence[Row]) -> Path:
    out = io.StringIO()
    heads = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(out, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_whole(path, out.getvalue())


def _keys(runs: Sequence[TracedRun]) -> str:
    shown = "; ".join(run.key for run in runs[:4])
    return shown if len(runs) <= 4 else f"{shown}; and {len(runs) - 4} more"

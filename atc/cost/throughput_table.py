"""A throughput measurement on the terminal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from atc.printable import printable

Row = Mapping[str, Any]
WHERE = ("batch_size", "precision", "compile", "reducer", "keep_rate", "threshold", "t")


def _number(key: str, form: str, scale: float = 1.0) -> Callable[[Row], str]:
    return lambda row: "–" if row.get(key) is None else format(scale * row[key], form)


# What is shown of a row that was measured, here and in the reports, where a page sorts by the numbers as written.
COLUMNS: dict[str, Callable[[Row], str]] = {
    "images/s": _number("images_per_second", ".1f"),
    "ms": _number("latency_ms", ".2f"),
    "± ms": _number("latency_spread_ms", ".2f"),
    "speed-up": _number("speed_up", ".2f"),
    "ideal": _number("ideal_speed_up", ".2f"),
    "reducers %": _number("reducers_share", ".1f", 100),
    "peak MB": _number("peak_memory_mb", ".0f"),
    "GFLOPs": _number("gflops", ".4g"),
    "formula": _number("gflops_by_formula", ".4g"),
    "tokens": lambda row: tokens(row.get("tokens_per_block", [])),
}


def tokens(per_block: Sequence[int]) -> str:
    """Those that enter each block, repetitions as a factor: 4×196 3×98 3×49 2×25."""
    runs: list[list[int]] = []
    for count in per_block:
        if runs and runs[-1][0] == count:
            runs[-1][1] += 1
        else:
            runs.append([count, 1])
    return " ".join(f"{times}×{count}" if times > 1 else str(count) for count, times in runs)


def mode(row: Row) -> str:
    """How a row was computed."""
    modes = ["compiled"] if row["compile"] else []
    modes += ["CUDA graph"] if row.get("cuda_graph") else []  # files of before have no such key
    return ", ".join(modes) or "eager"


def where(row: Row) -> list[str]:
    """The combination, in words."""
    shown = []
    for key in WHERE:
        value = mode(row) if key == "compile" else row.get(key)
        shown.append("" if value is None else _as_typed(value))
    return shown


def _as_typed(value: Any) -> str:
    """A share for each stage as on the command line, measured just now or read from a file; else the value."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def texts(row: Row) -> list[str]:
    """The columns of a row; of one that failed, why."""
    if row["status"] != "measured":
        return [row["status"], *[""] * (len(COLUMNS) - 1)]
    return [show(row) for show in COLUMNS.values()]


def table(rows: Sequence[Row], backbone: str) -> Table:
    """A line per combination; ± is the distance between the quartiles."""
    used = [key for key in WHERE if any(row.get(key) is not None for row in rows)]
    # As text: what stands in brackets, as in the messages of errors, would be markup.
    found = Table(title=Text(f"Throughput of {printable(backbone)}"), show_edge=False, pad_edge=False)
    for key in used:
        found.add_column("mode" if key == "compile" else key.replace("_", " "), justify="right")
    for head in COLUMNS:
        found.add_column(head, justify="right")
    for row in rows:
        shown = dict(zip(WHERE, where(row), strict=True))
        found.add_row(*(Text(printable(cell)) for cell in (*(shown[key] for key in used), *texts(row))))
    return found

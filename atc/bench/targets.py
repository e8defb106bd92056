"""What clustering and whole models are to reach, beside what the result files in ``benchmarks/`` say it does."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from atc import provenance
from atc.bench import speed_targets
from atc.bench.options import Parser
from atc.bench.speed_targets import Pick
from atc.printable import printable

Row = dict[str, Any]


class Target(NamedTuple):
    """One aim."""

    what: str
    file: str  # the result file
    pick: Pick  # the figure of a row beside all rows, None where the row is about something else
    goal: float
    at_least: bool  # rather than at most
    unit: str


def main(arguments: list[str]) -> None:
    """Run ``python -m atc.bench targets``: print the aims beside what was measured.

    Args:
        arguments: of the command line, after "targets".
    """
    parser = Parser(prog="python -m atc.bench targets", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the result files lie; default benchmarks")
    given = parser.parse_args(arguments).folder
    folder = given or Path("benchmarks")
    if not folder.is_dir():
        if given is not None:
            parser.error(f"--folder {given}: no such directory (looked from {Path.cwd()})")
        print(f"nothing was measured here: there is no {folder.resolve()}", file=sys.stderr)
    try:
        shown = table(folder)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    Console(width=140).print(shown)


def times(rival: str, rate: float) -> Pick:
    """How many times faster than a rival, at 196 tokens."""

    def pick(row: Row, rows: Sequence[Row]) -> float | None:
        here = row["tokens"] == 196 and row["keep"] == int(196 * rate) and row["candidate"] == rival
        return row["times_ours"] if here else None

    return pick


def milliseconds(row: Row, rows: Sequence[Row]) -> float | None:
    """Milliseconds an image of ours, of 4,096 tokens to 2,048; None for any other row."""
    ours = row["candidate"] == "ATC" and row["tokens"] == 4096 and row["keep"] == 2048
    return row["us_least"] / 1000 if ours else None


def share(part: str, **of: float) -> Pick:
    """Percent of the dense forward."""

    def pick(row: Row, rows: Sequence[Row]) -> float | None:
        here = row["candidate"] == part and all(row.get(key) == value for key, value in of.items())
        return row["percent_of_dense"] if here else None

    return pick


CLUSTERING, ALL = "ATC: clustering", "ATC"
RATES = (0.25, 0.5, 0.7, 0.9)
TARGETS = [
    *(
        Target(f"196 tokens, keep rate {rate}: times {rival}", "linkage_cpu", times(rival, rate), goal, True, "x")
        for rival, goals in {"SciPy": (8, 12, 18, 30), "scikit-learn": (12, 20, 30, 50)}.items()
        for rate, goal in zip(RATES, goals, strict=True)
    ),
    Target("4,096 tokens, keep rate 0.5", "linkage_cpu_large", milliseconds, 30, False, "ms"),
    Target("clustering, of DeiT-S, keep rate 0.5", "pipeline_cpu", share(CLUSTERING, keep_rate=0.5), 0.1, False, "%"),
    Target("all in, of DeiT-S, keep rate 0.5", "pipeline_cpu", share(ALL, keep_rate=0.5), 0.3, False, "%"),
    Target("4,096 tokens, keep rate 0.5, GPU", "linkage_gpu_large", milliseconds, 1, False, "ms"),
    Target(
        "clustering, of ViT-B, keep rate 0.5, GPU", "pipeline_gpu", share(CLUSTERING, keep_rate=0.5), 1.2, False, "%"
    ),
    Target("all in, of ViT-B, keep rate 0.5, GPU", "pipeline_gpu", share(ALL, keep_rate=0.5), 2.5, False, "%"),
    Target("all in, 16 fewer at every block, GPU", "pipeline_gpu_every", share(ALL, every_block=16), 10, False, "%"),
    *(Target(what, file, pick, goal, True, unit) for what, file, pick, goal, unit in speed_targets.AIMS),
]


def table(folder: Path) -> Table:
    """A line an aim, with the worst that the result files of a folder hold."""
    found = Table(title="Aims, and what was measured: the worst of all linkages and kinds of data")
    for heading in ("", "aim", "measured", "reached", "machine", "commit"):
        found.add_column(heading, justify="left" if heading in ("", "machine") else "right")
    for target in TARGETS:
        cells = measured(target, folder / f"{target.file}.json")
        found.add_row(*(Text(printable(cell)) for cell in (target.what, *cells)))
    return found


def measured(target: Target, path: Path) -> tuple[str, ...]:
    """The cells beside an aim; ValueError for a file that is no result of a benchmark."""
    if not path.is_file():
        return (*texts(target, {}), *where({}))
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        figures = {
            case_of(row): figure for row in result["rows"] if (figure := target.pick(row, result["rows"])) is not None
        }
        return (*texts(target, figures), *where(result))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is no result of python -m atc.bench: {error!r}") from error


def case_of(row: Row) -> str:
    """What a row is of, its method and its data: the worst of all cases counts."""
    return ", ".join(str(row[key]) for key in ("method", "data") if key in row)


def texts(target: Target, figures: Mapping[str, float]) -> tuple[str, str, str]:
    """The aim, the worst that was measured, and whether it is reached."""
    aim = f"{'≥' if target.at_least else '≤'} {target.goal:g} {target.unit}"
    if not figures:
        return aim, "not measured", ""
    worst = (min if target.at_least else max)(figures, key=lambda row: figures[row])
    reached = figures[worst] >= target.goal if target.at_least else figures[worst] <= target.goal
    return aim, f"{figures[worst]:.3g} {target.unit} ({worst})", "yes" if reached else "no"


def where(result: dict[str, Any]) -> tuple[str, str]:
    """Machine and commit of a result; empty texts where it does not say."""
    environment = result.get("environment")
    if environment is None:
        return "", ""
    machine = environment.get("machine", environment)
    return ", ".join(machine.get("gpus") or [machine["processor"]]), provenance.short(environment["commit"])

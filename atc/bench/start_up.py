"""How long commands take before their work begins: whole processes, and what they import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from atc.bench import record
from atc.bench.options import Parser, result_file, whole

_COMMAND = "import sys; sys.argv[0] = '{0}.py'; from atc.cli import {0}; {0}()"
_IMPORT = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \|\s*(\S+)")

# What is started: code, and its arguments.
STARTS: dict[str, tuple[str, list[str]]] = {
    "import atc": ("import atc", []),
    "a wrong keep_rate": (_COMMAND.format("evaluate"), ["keep_rate=2"]),
    "a wrong t": (_COMMAND.format("train"), ["schedule=constant", "t=-1"]),
    "an unknown schedule": (_COMMAND.format("evaluate"), ["schedule=stage"]),
    "--help": (_COMMAND.format("evaluate"), ["--help"]),
    "--cfg job": (_COMMAND.format("train"), ["--cfg", "job"]),
    "import torch": ("import torch", []),
    "import torch, timm": ("import torch, timm", []),
    "import torch, lightning": ("import torch, lightning.pytorch", []),
    "import atc.run: what a run imports": ("import atc.run", []),
}


def parser() -> Parser:
    """The command line of `python -m atc.bench start_up`."""
    found = Parser(
        prog="python -m atc.bench start_up",
        description="Commands before their work begins: CPU seconds of whole processes, and what a run imports.",
    )
    found.add_argument("--runs", type=whole(1, 1000), default=5, help="processes of each kind, in turns")
    found.add_argument("--packages", type=whole(1), default=12, help="lines of the table of imports")
    found.add_argument("--out", type=result_file, help="result file, such as benchmarks/start_up_cpu.json")
    return found


def main(arguments: list[str]) -> None:
    """Run ``python -m atc.bench start_up``: print two tables, write what was measured."""
    chosen = parser().parse_args(arguments)
    rows = measured(STARTS, chosen.runs)
    imports = by_package(STARTS["import atc.run: what a run imports"][0])[: chosen.packages]
    if chosen.out is not None:
        record.write(chosen.out, {"runs": chosen.runs}, [*rows, *imports])
    _show("a process", "start", rows, ("cpu_seconds", "wall_seconds"))
    _show("imports of a run, without what they import in turn", "package", imports, ("seconds", "modules"))


def measured(starts: dict[str, tuple[str, list[str]]], runs: int) -> list[dict[str, object]]:
    """CPU and wall-clock seconds of processes, the median of some runs in turns after one that is not counted.

    Args:
        starts: by name, code for ``python -c`` and its arguments.
        runs: processes of each kind.

    Returns:
        A row each.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in starts}
    with tempfile.TemporaryDirectory() as empty:
        for _ in range(runs + 1):
            for name, (code, arguments) in starts.items():
                seconds[name].append(_once(code, arguments, empty))
    return [
        {
            "start": name,
            "cpu_seconds": round(median(cpu for cpu, _ in found[1:]), 3),
            "wall_seconds": round(median(wall for _, wall in found[1:]), 3),
        }
        for name, found in seconds.items()
    ]


def _once(code: str, arguments: Sequence[str], directory: str) -> tuple[float, float]:
    """CPU and wall-clock seconds of one process; it may end with an error, which is what some of them are for."""
    before, start = os.times(), time.perf_counter()
    _python(["-c", code, *arguments], directory)
    wall, after = time.perf_counter() - start, os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system, wall


def _python(arguments: Sequence[str], directory: str | None = None) -> str:
    """What a process of this Python says on stderr; this checkout is imported wherever it stands."""
    root = str(Path(record.__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


def by_package(code: str) -> list[dict[str, object]]:
    """How long the modules of each package take to import, in the process of some code, by ``-X importtime``.

    Args:
        code: for ``python -c``.

    Returns:
        A row each, the longest first; a module's time is without that of the modules it imports.
    """
    seconds: dict[str, float] = defaultdict(float)
    modules: dict[str, int] = defaultdict(int)
    for own, _, name in _IMPORT.findall(_python(["-X", "importtime", "-c", code])):
        package = name.partition(".")[0]
        seconds[package] += int(own) / 1e6
        modules[package] += 1
    return [
        {"package": name, "seconds": round(seconds[name], 3), "modules": modules[name]}
        for name in sorted(seconds, key=lambda name: -seconds[name])
    ]


def _show(title: str, first: str, rows: Sequence[dict[str, object]], columns: Sequence[str]) -> None:
    table = Table(title=title)
    table.add_column(first)
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(str(row[first]), *(str(row[column]) for column in columns))
    Console().print(table)

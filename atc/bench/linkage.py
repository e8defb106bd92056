"""Clustering alone: distances in, labels out, against the libraries that can do the same."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from atc.bench import record, rivals
from atc.bench.interleaved import interleave
from atc.bench.tokens import DATA
from atc.ops.linkage import cosine_distance, cpu, labels

OURS = "ATC"


def main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    rows: list[dict[str, object]] = []
    for tokens in options.tokens:
        batch = max(1, min(options.batch, options.batch * 196**2 // tokens**2))
        for name in options.data:
            distance = cosine_distance(DATA[name](batch, tokens))
            for method in options.methods:
                for rate in options.keep_rates:
                    rows += measure(distance, max(1, int(tokens * rate)), method, options.runs, options.threads, name)
    if cpu.kernel() is None:
        raise SystemExit("the clustering kernel is not compiled: install the package with a C++ compiler at hand")
    if options.out is not None:
        settings = {"threads": options.threads, "clock": clock_name(options.threads), "runs": options.runs}
        record.write(options.out, settings, rows)
    Console(width=140).print(table(rows, options.threads))


def measure(
    distance: Tensor, keep: int, method: str, runs: int, threads: int, data: str
) -> Iterable[dict[str, object]]:
    """One row a candidate; microseconds an image."""
    clusters: dict[str, rivals.Cluster] = {OURS: lambda d, k, m: labels(d, k, m).numpy()}
    clusters |= rivals.single_thread_rivals() if threads == 1 else rivals.many_core_rivals(threads)
    timings = interleave(
        {name: (lambda cluster=cluster: cluster(distance, keep, method)) for name, cluster in clusters.items()},
        runs,
        time.thread_time if threads == 1 else time.perf_counter,
    )
    own = clusters[OURS](distance, keep, method)
    batch, tokens, _ = distance.shape
    for name, timing in timings.items():
        same = [same_partition(a, b) for a, b in zip(own, clusters[name](distance, keep, method), strict=True)]
        yield {
            "tokens": tokens,
            "keep": keep,
            "method": method,
            "data": data,
            "batch": batch,
            "candidate": name,
            "us_least": round(timing.least / batch * 1e6, 2),
            "us_median": round(timing.median / batch * 1e6, 2),
            "times_ours": round(timing.least / timings[OURS].least, 2),
            "same_partition": round(float(np.mean(same)), 3),
        }


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal up to the names of the clusters."""
    pairs = len({*zip(a.tolist(), b.tolist(), strict=True)})
    return pairs == len({*a.tolist()}) == len({*b.tolist()})


def table(rows: list[dict[str, object]], threads: int) -> Table:
    """A line a problem, a column a candidate: least microseconds an image, and how many times ours."""
    names = list(dict.fromkeys(str(row["candidate"]) for row in rows))
    found = Table(title=f"Clustering, least µs an image, {clock_name(threads)}, {threads} thread(s)")
    for heading in ("tokens", "keep", "linkage", "data", "batch"):
        found.add_column(heading, justify="right")
    for name in names:
        found.add_column(name, justify="right")
    lines: dict[tuple[str, ...], dict[str, dict[str, object]]] = {}
    for row in rows:
        problem = tuple(str(row[key]) for key in ("tokens", "keep", "method", "data", "batch"))
        lines.setdefault(problem, {})[str(row["candidate"])] = row
    for problem, cells in lines.items():
        texts = [f"{row['us_least']:.1f}" + times(row) for name in names if (row := cells.get(name)) is not None]
        found.add_row(*problem, *texts)
    return found


def times(row: dict[str, object]) -> str:
    return "" if row["candidate"] == OURS else f"  {row['times_ours']:.1f}x"


def clock_name(threads: int) -> str:
    return "thread CPU time" if threads == 1 else "wall-clock time"


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m atc.bench linkage", description=__doc__)
    found.add_argument("--tokens", type=int, nargs="+", default=[196, 98, 49, 1024, 4096])
    found.add_argument("--keep-rates", type=float, nargs="+", default=[0.25, 0.5, 0.7, 0.9])
    found.add_argument("--methods", nargs="+", default=["single", "complete", "average"])
    found.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    found.add_argument("--batch", type=int, default=32, help="images of 196 tokens; fewer for more tokens")
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--runs", type=int, default=7)
    found.add_argument("--out", type=Path, help="result file, such as benchmarks/linkage_cpu.json")
    return found

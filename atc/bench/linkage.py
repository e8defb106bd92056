"""Clustering alone: distances in, labels out, against the libraries that can do the same."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from atc.bench import record, rivals
from atc.bench.interleaved import interleave
from atc.bench.tokens import DATA
from atc.ops.linkage import cosine_distance, labels
from atc.ops.linkage.op import chosen_backend

OURS = "ATC"
LINKAGES = ("single", "complete", "average")
GPU_BACKENDS = ("triton", "cuda", "torch")


def main(arguments: list[str]) -> None:
    command = parser()
    options = command.parse_args(arguments)
    if reason := record.unmeasurable(options.device):
        command.error(reason)
    torch.set_num_threads(options.threads)
    watch = Watch(options.device, options.threads)
    rows: list[dict[str, object]] = []
    for tokens in options.tokens:
        batch = max(1, min(options.batch, options.batch * 196**2 // tokens**2))
        for name in options.data:
            distance = cosine_distance(DATA[name](batch, tokens).to(options.device))
            for method in options.methods:
                for rate in options.keep_rates:
                    rows += measure(distance, max(1, int(tokens * rate)), method, options.runs, watch, name)
    if options.out is not None:
        settings = {"device": options.device, "clock": watch.name, "runs": options.runs}
        record.write(options.out, settings, rows)
    Console(width=140).print(table(rows, watch))


def measure(
    distance: Tensor, keep: int, method: str, runs: int, watch: Watch, data: str
) -> Iterable[dict[str, object]]:
    """One row a candidate; microseconds an image."""
    clusters: dict[str, rivals.Cluster] = {OURS: labels}
    if distance.device.type == "cuda":
        clusters |= each_backend(distance, method)
    clusters |= rivals.single_thread_rivals() if watch.threads == 1 else rivals.many_core_rivals(watch.threads)
    timings = interleave(
        {name: partial(cluster, distance, keep, method) for name, cluster in clusters.items()},
        runs,
        watch.clock,
        watch.wait,
    )
    own = labels(distance, keep, method).cpu().numpy()
    batch, tokens, _ = distance.shape
    for name, timing in timings.items():
        theirs = own if name == OURS else torch.as_tensor(clusters[name](distance, keep, method)).cpu().numpy()
        same = [same_partition(a, b) for a, b in zip(own, theirs, strict=True)]
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


def each_backend(distance: Tensor, method: str) -> dict[str, rivals.Cluster]:
    """The backends a GPU may choose from, each by name; why one is left out is printed."""
    found: dict[str, rivals.Cluster] = {}
    for name in GPU_BACKENDS:
        try:
            chosen_backend(distance, name, method)
            found[f"{OURS}: {name}"] = partial(labels, backend=name)
        except ValueError as reason:
            say_once(f"not measured: {reason}")
    return found


say_once = cache(print)


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal up to the names of the clusters."""
    pairs = len({*zip(a.tolist(), b.tolist(), strict=True)})
    return pairs == len({*a.tolist()}) == len({*b.tolist()})


def table(rows: list[dict[str, object]], watch: Watch) -> Table:
    """A line a problem, a column a candidate: least microseconds an image, and how many times ours."""
    names = list(dict.fromkeys(str(row["candidate"]) for row in rows))
    found = Table(title=f"Clustering, least µs an image, {watch.name}")
    for heading in ("tokens", "keep", "linkage", "data", "batch"):
        found.add_column(heading, justify="right")
    for name in names:
        found.add_column(name, justify="right")
    lines: dict[tuple[str, ...], dict[str, dict[str, object]]] = {}
    for row in rows:
        problem = tuple(str(row[key]) for key in ("tokens", "keep", "method", "data", "batch"))
        lines.setdefault(problem, {})[str(row["candidate"])] = row
    for problem, cells in lines.items():
        texts = [f"{cells[name]['us_least']:.1f}{times(cells[name])}" for name in names if name in cells]
        found.add_row(*problem, *texts)
    return found


def times(row: dict[str, object]) -> str:
    return "" if row["candidate"] == OURS else f"  {row['times_ours']:.1f}x"


def share(text: str) -> float:
    """A share of tokens to keep, as an argument."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} must lie in (0, 1]")
    return value


class Watch:
    """How time is taken: of one thread by its own clock, of several or of a GPU by the wall's."""

    def __init__(self, device: str, threads: int) -> None:
        self.threads = threads
        alone = device == "cpu" and threads == 1
        self.clock = time.thread_time if alone else time.perf_counter
        self.wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        self.name = f"{'thread CPU' if alone else 'wall-clock'} time, {threads} CPU thread(s), {device}"


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m atc.bench linkage", description=__doc__)
    found.add_argument("--tokens", type=int, nargs="+", default=[196, 98, 49, 1024, 4096])
    found.add_argument("--keep-rates", type=share, nargs="+", default=[0.25, 0.5, 0.7, 0.9])
    found.add_argument("--methods", nargs="+", choices=LINKAGES, default=list(LINKAGES))
    found.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    found.add_argument("--batch", type=int, default=32, help="images of 196 tokens; fewer for more tokens")
    found.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--runs", type=int, default=7)
    found.add_argument("--out", type=Path, help="result file, such as benchmarks/linkage_cpu.json")
    return found

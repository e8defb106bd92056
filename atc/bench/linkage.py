"""Clustering alone: distances in, labels out, against the libraries that can do the same."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import cache, partial

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from atc.bench import baselines, record
from atc.bench import options as command
from atc.cost.interleaved import interleave
from atc.cost.tokens import DATA
from atc.ops.linkage import cosine_distance, labels
from atc.ops.linkage.dispatch import chosen_backend

OURS = "ATC"
GPU_BACKENDS = ("triton", "cuda", "torch")


def main(arguments: list[str]) -> None:
    """Run ``python -m atc.bench linkage``: print a table, write what was measured.

    Args:
        arguments: of the command line, after "linkage".
    """
    options = command.parsed("linkage", arguments)
    if reason := record.unmeasurable(options.device):
        command.linkage().error(reason)
    torch.set_num_threads(options.threads)
    watch = Watch(options.device, options.threads)
    rows: list[dict[str, object]] = []
    for tokens in options.tokens:
        batch = command.images_of(options, tokens)
        for name in options.data:
            distance = cosine_distance(DATA[name](batch, tokens).to(options.device))
            for method in options.methods:
                for rate in options.keep_rates:
                    rows += measure(distance, max(1, int(tokens * rate)), method, options.runs, watch, name)
        if options.out is not None:  # what is measured stays, should a larger problem fail
            settings = {"device": options.device, "clock": watch.name, "runs": options.runs}
            record.write(options.out, settings, rows)
    Console(width=140).print(table(rows, watch))


def measure(
    distance: Tensor, keep: int, method: str, runs: int, watch: Watch, data: str
) -> Iterable[dict[str, object]]:
    """One row a candidate; microseconds an image."""
    clusters: dict[str, baselines.Cluster] = {OURS: labels}
    if distance.device.type == "cuda":
        clusters |= each_backend(distance, method)
    clusters |= baselines.single_thread_rivals() if watch.threads == 1 else baselines.many_core_rivals(watch.threads)
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


def each_backend(distance: Tensor, method: str) -> dict[str, baselines.Cluster]:
    """The backends a GPU may choose from, each by name; why one is left out is printed."""
    found: dict[str, baselines.Cluster] = {}
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
    """How many times ours a candidate takes, for a cell of the table; nothing for ours."""
    return "" if row["candidate"] == OURS else f"  {row['times_ours']:.1f}x"


class Watch:
    """How time is taken: of one thread by its own clock, of several or of a GPU by the wall's.

    Args:
        device: "cpu" or "cuda".
        threads: that compute at once.
    """

    def __init__(self, device: str, threads: int) -> None:
        self.threads = threads
        alone = device == "cpu" and threads == 1
        self.clock = time.thread_time if alone else time.perf_counter
        self.wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        self.name = f"{'thread CPU' if alone else 'wall-clock'} time, {threads} CPU thread(s), {device}"

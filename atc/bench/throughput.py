"""What `python -m atc.bench throughput` measures, and how."""

import functools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from atc.bench import record
from atc.bench.combinations import PRECISIONS, Combination, Models
from atc.bench.reducer_share import reducers_share
from atc.config.combinations import Choice
from atc.cost.interleaved import Timing, interleave
from atc.cost.memory import peak_growth
from atc.cost.throughput_table import table
from atc.files import unwritable
from atc.printable import printable
from atc.vit.cuda_graph import Replayed
from atc.vit.reduced import ReducedViT

LEAST_RUNS, MOST_RUNS = 3, 100
MEASURED = "measured"
Row = dict[str, Any]


def measure(choices: Sequence[Choice]) -> tuple[DictConfig, list[Row]]:
    """Measure combinations of settings, and write the results: anew after each batch size.

    Args:
        choices: conf/throughput.yaml, composed for each combination.

    Returns:
        The configuration, and a row per combination.
    """
    cfg = choices[0].cfg
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    models = Models(choices)
    place = record.free(Path(f"benchmarks/throughput_{models.backbone}_{models.device.type}.json"))
    cfg.output, cfg.backbone_name = cfg.output or str(place), models.backbone
    if reason := unwritable(Path(str(cfg.output))):
        raise ValueError(f"output={cfg.output} {reason}")
    _allow_compilations(len(models.combinations))
    rows: list[Row] = []
    for batch_size in dict.fromkeys(one.batch_size for one in models.combinations):
        wanted = [one for one in models.combinations if one.batch_size == batch_size]
        print(f"batch size {batch_size}: {len(wanted)} combinations", file=sys.stderr, flush=True)
        rows += _measure_batch(models, wanted, cfg)
        record.write(Path(cfg.output), _settings(cfg, models), rows)
    return cfg, rows


def show(cfg: DictConfig, rows: Sequence[Row]) -> None:
    """The table of what was measured, and where it lies, on the terminal."""
    Console(width=180).print(table(rows, cfg.backbone_name))
    print(printable(str(cfg.output)))


def _measure_batch(models: Models, wanted: Sequence[Combination], cfg: DictConfig) -> list[Row]:
    """The combinations of one batch size, in turns."""
    read = Attempt(functools.partial(_images, models, wanted))
    typed = read()
    if read.failure:
        return [_row(models, one, read, None, None) for one in wanted]
    images = next(iter(typed.values()))
    wait = functools.partial(torch.cuda.synchronize, models.device) if images.is_cuda else lambda: None
    forwards: dict[Combination, Attempt] = {}
    for one in wanted:
        model = models.get(one)
        call: Callable[..., Any] = torch.compile(model, fullgraph=True, dynamic=False) if one.compile else model
        call = Replayed(call) if one.cuda_graph else call
        forwards[one] = Attempt(functools.partial(call, typed[one.precision]))
    with torch.inference_mode():
        seconds = [_warm_up(forward, cfg.warmup, cfg.seconds, wait) for forward in forwards.values()]
        working = {one: forward for one, forward in forwards.items() if not forward.failure}
        runs = cfg.runs or _rounds(seconds, cfg.seconds)
        timings = interleave(working, runs, time.perf_counter, wait)
        rows = {one: _row(models, one, forwards[one], timings.get(one), typed[one.precision]) for one in wanted}
    for one, row in rows.items():
        dense = rows[one.dense]
        if row["status"] == dense["status"] == MEASURED:
            rounds = zip(timings[one.dense].all, timings[one].all, strict=True)
            row["speed_up"] = median(without / own for without, own in rounds)
            row["ideal_speed_up"] = dense["gflops"] / row["gflops"]
    return list(rows.values())


def _images(models: Models, wanted: Sequence[Combination]) -> dict[str, Tensor]:
    """One batch in each precision that is measured."""
    images = models.images(wanted[0].batch_size)
    return {name: images.to(PRECISIONS[name]) for name in dict.fromkeys(one.precision for one in wanted)}


def _row(models: Models, one: Combination, forward: "Attempt", timing: Timing | None, images: Tensor | None) -> Row:
    """What is reported of a combination, but for the comparison with the dense one; no images: they did not fit."""
    model, share = models.get(one), None
    growth = None if one.cuda_graph else peak_growth(forward, models.device)  # a replay takes no memory, it has it
    eager = not one.compile and not one.cuda_graph
    if isinstance(model, ReducedViT) and eager and not forward.failure and images is not None:
        share = Attempt(functools.partial(reducers_share, model, images))()
    row: Row = {
        "backbone": models.backbone,
        **one.reduction._asdict(),
        "batch_size": one.batch_size,
        "precision": one.precision,
        "compile": one.compile,
        "cuda_graph": one.cuda_graph,
        "status": forward.failure or MEASURED,
        **models.cost(one),
    }
    if forward.failure or timing is None or images is None:
        return row
    weights = sum(part.nbytes for part in model.state_dict().values()) + images.nbytes
    return row | {
        "images_per_second": one.batch_size / timing.median,
        "latency_ms": 1e3 * timing.median,
        "latency_spread_ms": 1e3 * timing.spread,
        "latency_least_ms": 1e3 * timing.least,
        "runs": timing.runs,
        "reducers_share": share,
        "peak_memory_mb": None if growth is None else (growth + weights) / 1e6,
    }


class Attempt:
    """A call that may run out of memory, or not compile: then `failure` says so, and it is not called again.

    Args:
        call: without arguments.
    """

    def __init__(self, call: Callable[[], Any]):
        self.call, self.failure = call, ""

    def __call__(self) -> Any:
        """What the call returns; None once it has failed."""
        if self.failure:
            return None
        try:
            return self.call()
        except Exception as error:
            # Of the error only its text is kept: the error itself would hold on to the tensors of the forward.
            self.failure = _failure(error)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None


def _failure(error: Exception) -> str:
    said = " ".join(str(error).split())
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in said:
        return "out of memory"
    return f"failed: {type(error).__name__}: {said[:200]}"


def _warm_up(forward: "Attempt", calls: int, most: float, wait: Callable[[], object]) -> float:
    """Call a forward so often, or for `most` seconds if it is slow; how long the last call took, in seconds."""
    begin = time.perf_counter()
    for number in range(max(calls, 1)):
        start = time.perf_counter()
        forward()
        wait()
        if forward.failure:
            return 0.0
        if number and time.perf_counter() - begin > most:
            break
    return time.perf_counter() - start


def _rounds(seconds: Sequence[float], each: float) -> int:
    """As many as take about `each` second of a combination, where a round calls each twice."""
    total = 2 * sum(seconds)
    return LEAST_RUNS if not total else min(MOST_RUNS, max(LEAST_RUNS, int(each * len(seconds) / total)))


def _allow_compilations(number: int) -> None:
    """To the compiler, all reduced models are one function in many variants, and it compiles only a few of one."""
    settings = getattr(torch.compiler, "config", None)
    limit = getattr(settings, "recompile_limit", None)
    if settings is not None and limit is not None:
        settings.recompile_limit = max(limit, 2 * number)


def _settings(cfg: DictConfig, models: Models) -> dict[str, Any]:
    """What holds for all rows."""
    return {
        "benchmark": "throughput",
        "backbone": models.backbone,
        "device": models.device.type,
        "weights": "pretrained" if cfg.backbone.get("pretrained") or cfg.backbone.get("checkpoint") else "random",
        "warmup": cfg.warmup,
        "clock": "wall clock, device idle before and after; combinations of a batch size take turns",
        "reducers_share": "CUDA events" if models.device.type == "cuda" else "wall clock, hooks; eager forwards",
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }

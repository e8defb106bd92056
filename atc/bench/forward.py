"""Throughput: images in, logits out, of every combination of settings that the command line lists.

    python -m atc.bench throughput backbone=deit_small reducer=[none,tome,atc_average] keep_rate=0.5 batch_size=[1,64]
    python -m atc.bench throughput --config-dir sweeps -cn throughput           what sweeps/throughput.yaml lists
    python -m atc.report throughput                                             the table of all that was measured

The combinations of one batch size take turns after a warm-up, and every time is taken with the device idle before and
after it. The model without reduction is always among them. All settings with their meaning: --help.
"""

import argparse
import functools
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor

from atc import build
from atc.bench import record
from atc.bench.combinations import PRECISIONS, Combination, Models
from atc.bench.interleaved import Timing, interleave
from atc.bench.memory import peak_growth
from atc.bench.share import reducers_share
from atc.bench.shown import table
from atc.choices import combinations
from atc.complaint import one_line
from atc.vit.reduced import ReducedViT

CONFIG = "throughput"
RANDOM_WEIGHTS = "backbone.pretrained=false"  # no download, for numbers that do not depend on weights
SEVERAL = ("reducer", "keep_rate", "t", "batch_size", "precision", "compile")
LEAST_RUNS, MOST_RUNS = 3, 100
MEASURED = "measured"
Row = dict[str, Any]


def main(arguments: Sequence[str]) -> None:
    """Run the command; ends the process with 2 after an error of the user's, told in one line, 1 after any other."""
    if {"-h", "--help"} & set(arguments):
        print(f"{__doc__}\n{(build.conf_dir() / f'{CONFIG}.yaml').read_text()}")
        return
    given = list(arguments)
    try:
        with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
            given = overrides(arguments)
            cfg, rows = measure(given)
        Console(width=180).print(table(rows, cfg.backbone_name))
        print(cfg.output)
    except Exception as error:
        line = None if "debug=true" in given else one_line(error, CONFIG, [said for said in given if "[" not in said])
        if line is None:
            traceback.print_exception(error)
            raise SystemExit(1) from None
        print(f"error: {line}", file=sys.stderr)
        raise SystemExit(2) from None


def overrides(arguments: Sequence[str]) -> list[str]:
    """The command line, with what a sweep file's `bench` section sets before it: --config-dir DIR -cn NAME."""
    parser = argparse.ArgumentParser("python -m atc.bench throughput", usage="%(prog)s [setting=value ...]; see --help")
    parser.add_argument("--config-dir", "-cd", type=Path)
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("settings", nargs="*")
    given = parser.parse_args(arguments)
    if given.config_name is None:
        return list(given.settings)
    file = (given.config_dir or Path()) / f"{given.config_name}.yaml"
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}; sweeps are named as in --config-dir sweeps -cn throughput")
    section = OmegaConf.load(file).get("bench")
    if section is None:
        raise ValueError(f"{file} has no `bench` section: it is a sweep for train.py or evaluate.py")
    said = {setting.partition("=")[0] for setting in given.settings}
    items = OmegaConf.to_container(section).items()  # type: ignore[union-attr]  # a section is a mapping
    return [*(f"{key}={_typed(value)}" for key, value in items if key not in said), *given.settings]


def measure(given: Sequence[str]) -> tuple[DictConfig, list[Row]]:
    """Measure what the overrides of conf/throughput.yaml ask for, and write it; a row per combination.

    Needs Hydra initialised on conf/. The file is written anew after each batch size.
    """
    choices = list(combinations(CONFIG, [RANDOM_WEIGHTS, *given], SEVERAL))
    cfg = choices[0].cfg
    _check(cfg)
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    models = Models(choices)
    place = record.free(Path(f"benchmarks/throughput_{models.backbone}_{models.device.type}.json"))
    cfg.output, cfg.backbone_name = cfg.output or str(place), models.backbone
    _allow_compilations(len(models.combinations))
    rows: list[Row] = []
    for batch_size in dict.fromkeys(one.batch_size for one in models.combinations):
        wanted = [one for one in models.combinations if one.batch_size == batch_size]
        print(f"batch size {batch_size}: {len(wanted)} combinations", file=sys.stderr, flush=True)
        rows += _measure_batch(models, wanted, cfg)
        record.write(Path(cfg.output), _settings(cfg, models), rows)
    return cfg, rows


def _measure_batch(models: Models, wanted: Sequence[Combination], cfg: DictConfig) -> list[Row]:
    """The combinations of one batch size, in turns."""
    images = models.images(wanted[0].batch_size)
    typed = {name: images.to(PRECISIONS[name]) for name in dict.fromkeys(one.precision for one in wanted)}
    wait = functools.partial(torch.cuda.synchronize, models.device) if images.is_cuda else lambda: None
    forwards: dict[Combination, Attempt] = {}
    for one in wanted:
        model = models.get(one)
        call = torch.compile(model, fullgraph=True, dynamic=False) if one.compile else model
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


def _row(models: Models, one: Combination, forward: "Attempt", timing: Timing | None, images: Tensor) -> Row:
    """What is reported of a combination, but for the comparison with the dense one."""
    model, share = models.get(one), None
    growth = peak_growth(forward, models.device)
    if isinstance(model, ReducedViT) and not one.compile and not forward.failure:
        share = Attempt(lambda: reducers_share(model, images))()
    row: Row = {
        "backbone": models.backbone,
        **one.reduction._asdict(),
        "batch_size": one.batch_size,
        "precision": one.precision,
        "compile": one.compile,
        "status": forward.failure or MEASURED,
        **models.cost(one),
    }
    if forward.failure or timing is None:
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
    """A call that may run out of memory, or not compile: then `failure` says so, and it is not called again."""

    def __init__(self, call: Callable[[], Any]):
        self.call, self.failure = call, ""

    def __call__(self) -> Any:
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
    """To the compiler, all reduced models are one function that it meets in many variants, and soon gives up on."""
    settings = getattr(torch.compiler, "config", None)
    limit = getattr(settings, "recompile_limit", None)
    if settings is not None and limit is not None:
        settings.recompile_limit = max(limit, 2 * number)


def _check(cfg: DictConfig) -> None:
    least = {"warmup": 0, "threads": 1, "runs": 1}
    for key, value in least.items():
        if cfg[key] is not None and (not isinstance(cfg[key], int) or cfg[key] < value):
            raise ValueError(f"{key}={cfg[key]}: a whole number, {value} or more")
    if not isinstance(cfg.seconds, int | float) or cfg.seconds <= 0:
        raise ValueError(f"seconds={cfg.seconds}: the time to spend on each combination, more than 0")


def _settings(cfg: DictConfig, models: Models) -> dict[str, Any]:
    """What holds for all rows."""
    return {
        "benchmark": CONFIG,
        "backbone": models.backbone,
        "device": models.device.type,
        "weights": "pretrained" if cfg.backbone.get("pretrained") or cfg.backbone.get("checkpoint") else "random",
        "warmup": cfg.warmup,
        "clock": "wall clock, device idle before and after; combinations of a batch size take turns",
        "reducers_share": "CUDA events" if models.device.type == "cuda" else "wall clock, hooks; eager forwards",
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def _typed(value: Any) -> str:
    """As on a command line: [none,tome], 0.5, true."""
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)

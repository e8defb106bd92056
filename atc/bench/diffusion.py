"""Whole pipelines of diffusers: seconds an image with merged tokens, against the same pipeline without.

The candidates take turns, so that each meets the same machine. Further runs of each have time taken inside its blocks:
how much of it merging takes (deciding, merging, spreading out), and how much the self-attention that merging shortens.
"""

import argparse
import functools
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from atc.bench import diffusion_options as options
from atc.bench import record
from atc.bench.inside_blocks import Inside, watched
from atc.cost.interleaved import Timing, summary
from atc.cost.memory import peak_growth
from atc.diffusion.layers import layer_of
from atc.diffusion.networks import Block, blocks, networks
from atc.diffusion.pipelines import PRECISIONS, load_pipeline
from atc.diffusion.reducing import reduce

DENSE = "none"
GUIDANCE = 7.5
PROMPT = "A high quality photograph of a magpie."
KEPT = ("pipeline", "steps", "max_downsample", "device", "threads", "runs")  # of the command line
NOISE = 0.02  # of the time: what is within counts as no difference


def main(arguments: list[str]) -> None:
    """Measure each size, print a table and write the result file."""
    chosen = options.parsed("diffusion", arguments)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        options.diffusion().error("--device cuda: PyTorch sees no GPU here")
    torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device)
    precision = chosen.precision or ("fp16" if device.type == "cuda" else "fp32")
    try:
        pipeline = load(chosen.pipeline, precision, device)
        network = networks(pipeline, False)[""]
        found = blocks(network)
        if not found:
            raise ValueError(f"{type(network).__name__} has no transformer blocks that could be reduced")
    except (ImportError, OSError, ValueError) as error:
        options.diffusion().error(f"--pipeline {chosen.pipeline}: {' '.join(str(error).split())[:300]}")
    settings = {
        **{name: getattr(chosen, name) for name in KEPT},
        "precision": precision,
        "guidance": GUIDANCE,
        "network": type(network).__name__,
        "attention_processors": processors(found),
        "gpu": torch.cuda.get_device_name() if device.type == "cuda" else "not measured",
    }
    rows: list[dict[str, Any]] = []
    for size in chosen.sizes or ([64, 96, 128] if chosen.pipeline == options.TINY else [512, 768, 1024]):
        rows += measure(chosen, pipeline, found, size, device)
        if chosen.out is not None:  # what is measured stays, should a larger size fail
            record.write(chosen.out, settings, rows)
    Console(width=160).print(table(rows, settings))
    for row in rows:
        if row["candidate"] != DENSE:
            print(f"{row['pixels']} pixels, {row['candidate']}, keep rate {row['keep_rate']}: {row['verdict']}")


def load(name: str, precision: str, device: torch.device) -> Any:
    """A pipeline from the hub or a directory, or the small random one; without a safety checker."""
    if name != options.TINY:
        return load_pipeline(name, precision, device)
    from atc.diffusion import tiny

    pipeline: Any = tiny.stable_diffusion().to(device)
    return pipeline if precision == "fp32" else pipeline.to(PRECISIONS[precision])


def processors(found: list[Block]) -> list[str]:
    """The classes that compute self-attention in the dense pipeline."""
    layers: list[Any] = [layer_of(block, "attn1") for block in found]
    return sorted({type(layer.processor).__name__ for layer in layers if hasattr(layer, "processor")})


def measure(
    chosen: argparse.Namespace, pipeline: Any, found: list[Block], size: int, device: torch.device
) -> list[dict[str, Any]]:
    """A row for each candidate at one size, the dense pipeline first."""

    def image(steps: int = chosen.steps) -> None:
        generator = torch.Generator(device).manual_seed(0)
        options_of_call = {"num_inference_steps": steps, "guidance_scale": GUIDANCE, "generator": generator}
        with torch.inference_mode():
            pipeline(PROMPT, height=size, width=size, output_type="np", **options_of_call)

    candidates: dict[tuple[str, float], Callable[[], Any]] = {(DENSE, 1.0): nullcontext}
    for method in chosen.methods:
        for rate in chosen.keep_rates:
            arguments = {"max_downsample": chosen.max_downsample}
            candidates[method, rate] = functools.partial(reduce, pipeline, method, rate, **arguments)

    def quickest(reduced: Callable[[], Any], merged: set[str]) -> Inside:
        several = [watched(reduced, image, found, merged, device) for _ in range(chosen.runs)]
        return min(several, key=lambda one: one.total)  # the one that others on the machine disturbed least

    failed: dict[tuple[str, float], str] = {}
    inside: dict[tuple[str, float], Inside] = {}
    memory: dict[tuple[str, float], int | None] = {}
    counts: dict[tuple[str, float], list[tuple[str, int, int]]] = {}
    for name, reduced in candidates.items():
        try:
            with reduced() as handle:
                image(min(2, chosen.steps))
                counts[name] = [] if handle is None else [(one.name, *one[2:]) for one in handle.blocks]
                memory[name] = peak_growth(functools.partial(image, min(2, chosen.steps)), device)
            inside[name] = quickest(reduced, {one[0] for one in counts[name]})
        except (ValueError, RuntimeError) as error:
            failed[name] = " ".join(str(error).split())[:200]
    there = [name for name in candidates if name not in failed and (DENSE, 1.0) not in failed]
    seconds: dict[tuple[str, float], list[float]] = {name: [] for name in there}
    wait: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(chosen.runs):
        for name, times in seconds.items():
            with candidates[name]():
                wait()
                start = time.perf_counter()
                image()
                wait()
                times.append(time.perf_counter() - start)
    heads = [{"pixels": size, "candidate": method, "keep_rate": rate} for method, rate in candidates]
    if (DENSE, 1.0) in failed:  # there is nothing to compare with
        return [head | {"verdict": f"not measured: {failed[DENSE, 1.0]}"} for head in heads]
    merged = {one[0] for several in counts.values() for one in several}
    dense = quickest(nullcontext, merged)
    timings = {name: summary(times) for name, times in seconds.items()}

    def measured(name: tuple[str, float]) -> dict[str, Any]:
        if name in failed:
            return {"verdict": f"not measured: {failed[name]}"}
        own = dense if name == (DENSE, 1.0) else inside[name]
        return row_of(name, timings, counts[name], own, dense, memory[name])

    return [head | measured(name) for head, name in zip(heads, candidates, strict=True)]


def row_of(
    name: tuple[str, float],
    timings: Mapping[tuple[str, float], Timing],
    merged: list[tuple[str, int, int]],
    inside: Inside,
    dense: Inside,
    memory: int | None,
) -> dict[str, Any]:
    """What was measured of one candidate."""
    timing, against = timings[name], timings[DENSE, 1.0]
    speed_up = median(a / b for a, b in zip(against.all, timing.all, strict=True))
    return {
        "seconds_an_image": round(timing.median, 4),
        "spread": round(timing.spread, 4),
        "speed_up": round(speed_up, 3),
        "merging_share": round(inside.merging / inside.total, 4),
        "attention_share": round(inside.attention / inside.total, 4),
        "peak_memory_mb": None if memory is None else round(memory / 1e6, 1),
        "blocks": sorted({f"{tokens} -> {keep}" for _, tokens, keep in merged}),
        "merging_blocks": len(merged),
        "verdict": "" if name[0] == DENSE else verdict(speed_up, inside, dense, len(merged)),
    }


def verdict(speed_up: float, inside: Inside, dense: Inside, merged: int) -> str:
    """Whether merging pays, and why.

    Args:
        speed_up: seconds of the dense pipeline over those of the reduced one.
        inside: the blocks of the reduced pipeline.
        dense: the same blocks of the dense one.
        merged: how many blocks merge.

    Returns:
        One line.
    """
    saved = (dense.attention - inside.attention) / dense.total
    cost = inside.merging / dense.total
    most = dense.total / max(dense.total - dense.attention, 1e-12)
    why = (
        f"of the dense time, self-attention in the {merged} merging blocks takes {dense.attention / dense.total:.1%}; "
        f"merging saves {saved:.1%} of the time there and takes {cost:.1%} itself"
    )
    if speed_up > 1 + NOISE:
        return f"{speed_up:.2f} times as fast: {why}"
    bound = f"without any self-attention there it would be {most:.2f} times as fast"
    return f"no speed-up ({speed_up:.2f} times as fast): {why}; {bound}"


def table(rows: list[dict[str, Any]], settings: Mapping[str, Any]) -> Table:
    """A line for each candidate at each size."""
    found = Table(
        title=f"{settings['pipeline']}, {settings['steps']} steps, {settings['precision']}, {settings['device']}; "
        f"dense attention: {', '.join(settings['attention_processors'])}"
    )
    of_times = ("s an image", "times as fast", "merging", "attention", "memory, MB")
    for heading in ("pixels", "candidate", "keep rate", "tokens", *of_times):
        found.add_column(heading, justify="right")
    for row in rows:
        head = (str(row["pixels"]), row["candidate"], f"{row['keep_rate']:g}")
        if "seconds_an_image" not in row:
            found.add_row(*head, row["verdict"])
            continue
        shares = (f"{row['merging_share']:.1%}", f"{row['attention_share']:.1%}")
        times = (f"{row['seconds_an_image']:.3f}", f"{row['speed_up']:.2f}")
        memory = "-" if row["peak_memory_mb"] is None else f"{row['peak_memory_mb']:,.0f}"
        found.add_row(*head, ", ".join(row["blocks"]), *times, *shares, memory)
    return found

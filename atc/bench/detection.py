"""Mask R-CNN on ViT-Adapter with reduced tokens beside the same without: images per second, memory, operations.

Weights and images are random. Of its scores a detector takes the 1,000 highest of an image, where a trained one takes
those over .05: so there are objects for its mask head.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import timm
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from atc.bench import detection_options as options
from atc.bench import record
from atc.bench.detection_options import padded
from atc.bench.inside_detector import NOT_COUNTED, gflops, parameters, shares
from atc.bench.reducer_share import reducers_share
from atc.cost.interleaved import Timing, interleave
from atc.cost.memory import peak_growth
from atc.cost.throughput_table import tokens
from atc.dense import ViTAdapter, mask_rcnn
from atc.dense.detector import Detector

DENSE = ("none", 1.0)
CLASSES = 80
DEFORM_HEADS = {"deit_tiny": 6, "deit_small": 6, "deit_base": 12}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
KEPT = ("model", "size", "batch", "precision", "device", "threads")  # of the command line
CANDIDATES = 1000  # classes of boxes of an image that score high enough, before NMS
Name = tuple[str, float]


def main(arguments: list[str]) -> None:
    """Measure every method at every keep rate, print a table and write the result file."""
    chosen = options.parsed("detection", arguments)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        options.detection().error("--device cuda: PyTorch sees no GPU here")
    torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device)
    detectors: dict[Name, Detector] = {}
    reduced = [(method, rate) for method in chosen.methods if method != DENSE[0] for rate in chosen.keep_rates]
    for name in dict.fromkeys([DENSE, *reduced]):
        try:
            detectors[name] = detector(chosen.model, *name).to(device)
        except ValueError as error:
            options.detection().error(f"--methods {name[0]} --keep-rates {name[1]}: {' '.join(str(error).split())}")
    height, width = padded(chosen.size)
    settings = {
        **{name: getattr(chosen, name) for name in KEPT},
        "padded": [height, width],
        "weights": "random",
        "gpu": torch.cuda.get_device_name() if device.type == "cuda" else "not measured",
        "gflops": "two for a multiply-add; not counted: " + NOT_COUNTED,
        "clustering_share": "of the time of a forward: deciding and merging, all stages",
        "parameters": parameters(detectors[DENSE]),
    }
    with torch.inference_mode():
        rows = measure(chosen, detectors, device)
    if chosen.out is not None:
        record.write(record.free(chosen.out), settings, rows)
    print_tables(rows, settings)


def detector(model: str, method: str, keep_rate: float) -> Detector:
    """Mask R-CNN with random weights, the same ones for every method, that keeps this share of the tokens at a stage.

    Args:
        model: such as "deit_tiny".
        method: a reducer, or "none".
        keep_rate: of the tokens that reach a stage.
    """
    torch.manual_seed(0)
    vit = timm.create_model(f"{model}_patch16_224", num_classes=0)
    of_method: dict[str, Any] = {} if method == "none" else {"reducer": method, "keep_rate": keep_rate}
    torch.manual_seed(1)  # what a method learns draws after what all have
    backbone = ViTAdapter(vit, deform_heads=DEFORM_HEADS[model], **of_method)
    made = Detector(mask_rcnn(backbone, CLASSES, min_size=None)).eval()
    return made


def measure(chosen: Any, detectors: dict[Name, Detector], device: torch.device) -> list[dict[str, Any]]:
    """A row for each detector, the one without reduction first; they take turns.

    Args:
        chosen: the command line.
        detectors: by method and keep rate, on the device.
        device: where.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(chosen.batch, 3, *padded(chosen.size), generator=generator).to(device)
    dtype = DTYPES[chosen.precision]
    autocast = functools.partial(torch.autocast, device.type, dtype=dtype, enabled=dtype != torch.float32)

    def forward(model: Detector) -> Callable[[], Any]:
        def call(images: Tensor = images) -> Any:
            with autocast():
                return model(images, [{"size": chosen.size}] * len(images))

        return call

    wait: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    calls = {name: forward(one) for name, one in detectors.items()}
    found: dict[Name, dict[str, Any]] = {}
    for name, one in detectors.items():
        expect_objects(one, calls[name], CANDIDATES * chosen.batch)
        found[name] = measured_once(one, calls[name], chosen.batch, device)
        if one.method.reduces:
            reducing: Any = one
            with autocast():
                found[name]["clustering_share"] = round(reducers_share(reducing, images, chosen.runs), 4)
    timings = interleave(calls, chosen.runs, time.perf_counter, wait)
    return [row_of(name, timing, timings[DENSE], chosen.batch) | found[name] for name, timing in timings.items()]


def expect_objects(model: Detector, forward: Callable[[], object], candidates: int) -> None:
    """Set from which score on classes of boxes are objects, so that so many of a forward are.

    Args:
        model: the detector, whose threshold is set.
        forward: a forward of it.
        candidates: the number.
    """
    heads: Any = model.roi_heads
    seen: list[Tensor] = []
    handle = heads.box_predictor.register_forward_hook(lambda module, given, made: seen.append(made[0]))
    try:
        forward()
    finally:
        handle.remove()
    scores = seen[-1].softmax(dim=-1)[:, 1:].flatten()
    heads.score_thresh = float(scores.topk(min(candidates, len(scores))).values[-1])


def measured_once(model: Detector, forward: Callable[[], Any], batch: int, device: torch.device) -> dict[str, Any]:
    """Of a row, what one forward says: operations, tokens, memory, and how its time is divided.

    Args:
        model: the detector.
        forward: a forward of it.
        batch: its images.
        device: where.
    """
    found: list[Any] = []
    growth = peak_growth(lambda: found.append(forward()), device)
    counted = gflops(model, forward, batch)
    sampling = counted.pop("sampling")
    objects = sum(len(image["boxes"]) for image in found[-1])
    return {
        "peak_memory_mb": None if growth is None else round(growth / 1e6, 1),
        "clustering_share": 0.0,
        "time_of_parts": {part: round(value, 4) for part, value in shares(model, forward, device).items()},
        "gflops": round(sum(counted.values()), 3),
        "gflops_of_parts": {part: round(value, 3) for part, value in counted.items()},
        "sampling_gflops": round(sampling, 3),
        "tokens_per_block": [int(one) if one == int(one) else one for one in model.tokens_per_block()],
        "objects": objects / batch,
    }


def row_of(name: Name, timing: Timing, dense: Timing, batch: int) -> dict[str, Any]:
    """Of a row, what several forwards say.

    Args:
        name: method and keep rate.
        timing: of its forwards.
        dense: of those without reduction.
        batch: images of a forward.
    """
    return {
        "method": name[0],
        "keep_rate": name[1],
        "images_per_second": round(batch / timing.median, 4),
        "seconds": round(timing.median, 4),
        "spread": round(timing.spread, 4),
        "speed_up": round(median(without / own for without, own in zip(dense.all, timing.all, strict=True)), 3),
        "runs": timing.runs,
    }


def print_tables(rows: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    """Print what was measured, and the parts of the detector.

    Args:
        rows: of `measure`.
        settings: of the result file.
    """
    where = "GPU" if settings["device"] == "cuda" else f"CPU, {settings['threads']} threads"
    size = "x".join(map(str, settings["padded"]))
    title = (
        f"Mask R-CNN on {settings['model']}, {size} pixels, batch {settings['batch']}, {settings['precision']}, {where}"
    )
    table = Table(title=title)
    heads = ("images/s", "s", "± s", "times dense", "clustering %", "peak MB", "GFLOPs", "tokens")
    for heading in ("method", "keep rate", *heads):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for row in rows:
        memory = "–" if row["peak_memory_mb"] is None else f"{row['peak_memory_mb']:,.0f}"
        speed = (f"{row['images_per_second']:.3g}", f"{row['seconds']:.3g}", f"{row['spread']:.2g}")
        more = (f"{row['speed_up']:.2f}", f"{100 * row['clustering_share']:.1f}", memory, f"{row['gflops']:,.0f}")
        table.add_row(row["method"], str(row["keep_rate"]), *speed, *more, tokens(row["tokens_per_block"]))
    parts = Table(title="Its parts: GFLOPs, and % of the time")
    parts.add_column("part")
    parts.add_column("parameters", justify="right")
    for row in rows:
        parts.add_column(f"{row['method']} {row['keep_rate']}", justify="right")
    for part, count in settings["parameters"].items():
        spent = [f"{row['gflops_of_parts'][part]:,.1f}, {100 * row['time_of_parts'][part]:.0f}" for row in rows]
        parts.add_row(part.replace("_", " "), f"{count:,}", *spent)
    for one in (table, parts):
        Console(width=160).print(one)

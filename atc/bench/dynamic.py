"""ATC up to a distance against the model without reduction, and ATC at a count: operations saved, and time.

Thresholds are those of `python -m atc.calibrate`, on other images than are timed. Operations are counted by PyTorch,
what clustering multiplies included; time is that of whole forwards of a batch, packing included. Freed memory is kept
from forward to forward, where the C library can be told so.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from unittest import mock

import torch
from hydra.utils import get_method
from rich.console import Console
from rich.table import Table
from timm.data import create_transform
from torch import Tensor, nn

from atc.api import wrap
from atc.bench import allocator, record
from atc.bench import options as command
from atc.bench.linkage import Watch
from atc.config import build
from atc.cost.flops import gflops_per_image
from atc.cost.interleaved import interleave
from atc.cost.tokens import smooth
from atc.run import own_images
from atc.vit.images import data_config
from atc.vit.thresholds import calibrate

READ = "datamodules.io.pictures.read_rgb"  # bound by name, as data sets are
COLUMNS = ("keep_rate", "method", "tokens", "gflops", "ms", "speed_up", "ideal_speed_up", "share_of_speed_up", "saved")


def main(arguments: list[str]) -> None:
    """Run ``python -m atc.bench dynamic``: print a table, write what was measured.

    Args:
        arguments: of the command line, after "dynamic".
    """
    options = command.parsed("dynamic", arguments)
    if reason := record.unmeasurable(options.device):
        command.dynamic().error(reason)
    kept = allocator.keep_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    weights = {"pretrained": False, "checkpoint": None if options.weights is None else str(options.weights)}
    vit = build.instantiate(build.option("backbone", options.model), **weights).eval().to(options.device)
    images = images_of(vit, options).to(options.device)
    watch = Watch(options.device, options.threads)
    with torch.inference_mode():
        rows = [row for rate in options.keep_rates for row in measure(vit, images, rate, options, watch)]
    settings = {
        **{"model": options.model, "weights": "given" if options.weights else "random", "batch": options.batch},
        **{"images": "a folder" if options.images else "drawn", "calibrated_on": options.calibrate},
        **{"method": options.method, "device": options.device, "clock": watch.name, "runs": options.runs},
        "freed_memory": "kept" if kept else "as the C library does",
    }
    if options.out is not None:
        record.write(options.out, settings, rows)
    Console(width=140).print(table(rows, settings))


def images_of(vit: nn.Module, options: argparse.Namespace) -> Tensor:
    """``[calibrate + batch, 3, H, W]``, evenly from the folder, or drawn."""
    number, data = options.calibrate + options.batch, data_config(vit)
    if options.images is None:
        _, height, width = data["input_size"]
        return smooth(number, height * width, channels=3).mT.unflatten(-1, (height, width)).contiguous()
    files = own_images.files_of(options.images)
    if len(files) < number:
        raise SystemExit(f"error: --images {options.images} holds {len(files)} images; {number} are needed")
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(0))[:number].tolist()
    transform, read = create_transform(**data, is_training=False), get_method(READ)
    return torch.stack([transform(read(files[index])) for index in order])


def measure(
    vit: nn.Module, images: Tensor, rate: float, options: argparse.Namespace, watch: Watch
) -> list[dict[str, object]]:
    """Operations and times of one keep rate, the dense model's first."""
    known, batch = images[: options.calibrate], images[options.calibrate :]
    static = wrap(copy.copy(vit), f"atc_{options.method}", rate)
    model = wrap(copy.copy(vit), f"atc_{options.method}_dynamic", threshold=0.0)
    found = calibrate(model, lambda: known.split(options.batch), [count.keep for count in static.stage_counts])

    def together() -> object:
        with mock.patch("atc.vit.stream.packing_of", return_value=None):
            return model(batch)

    candidates: dict[str, Callable[[], object]] = {
        "dense": lambda: vit(batch),
        "static": lambda: static(batch),
        "dynamic": lambda: model(batch),
        "dynamic, padded to the longest": together,
    }
    timings = interleave(candidates, options.runs, watch.clock, watch.wait)
    models = {"dense": vit, "static": static, "dynamic": model, "dynamic, padded to the longest": model}
    gflops = {name: gflops_per_image(one, batch) for name, one in models.items() if not name.endswith("longest")}
    gflops["dynamic, padded to the longest"] = gflops["dynamic"]
    model(batch)
    tokens = {
        "dense": [static.host.num_patches],
        "static": [count.keep for count in static.stage_counts],
        "dynamic": [round(mean, 1) for mean in model.trace.mean_tokens()],
        "dynamic, padded to the longest": model.trace.tokens(),
    }
    rows = []
    for name, timing in timings.items():
        speed_up, ideal = timings["dense"].median / timing.median, gflops["dense"] / gflops[name]
        row: dict[str, object] = {
            **{"keep_rate": rate, "method": name, "tokens": tokens[name], "gflops": round(gflops[name], 4)},
            "thresholds": [round(stage.threshold, 5) for stage in found] if name.startswith("dynamic") else None,
            "ms": round(1e3 * timing.median / options.batch, 3),
            "ms_spread": round(1e3 * timing.spread / options.batch, 3),
            **{"speed_up": round(speed_up, 3), "ideal_speed_up": round(ideal, 3)},
            "share_of_speed_up": round(speed_up / ideal, 3),
            "saved": None if name == "dense" else round((1 - 1 / speed_up) / (1 - 1 / ideal), 3),
        }
        rows.append(row)
    return rows


def table(rows: list[dict[str, object]], settings: dict[str, object]) -> Table:
    """What is shown on the terminal."""
    found = Table(title=f"{settings['model']}, batches of {settings['batch']}, {settings['clock']}; ms an image")
    for column in COLUMNS:
        found.add_column(
            {"saved": "time saved / operations saved"}.get(column, column.replace("_", " ")), justify="right"
        )
    for row in rows:
        found.add_row(*("–" if row[column] is None else str(row[column]) for column in COLUMNS))
    return found

"""Training steps of reduced models beside those of the dense one: forward, backward and the optimizer's update.

Top-K, which only selects tokens, shows what the kept tokens allow; methods that merge can come near it.
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
from torch import Tensor, nn
from torch.nn import functional as F

import atc
from atc.bench import options, record
from atc.cost.interleaved import interleave
from atc.cost.memory import peak_growth

CLASSES = 1000
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main(arguments: list[str]) -> None:
    """Measure every method in every mode, print a table and write the result file."""
    chosen = options.parsed("training", arguments)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        options.training().error("--device cuda: PyTorch sees no GPU here")
    torch.set_num_threads(chosen.threads)
    rows: list[dict[str, Any]] = []
    kept = ("model", "keep_rate", "batch", "precision", "device", "threads", "size")
    settings = {name: getattr(chosen, name) for name in kept}
    out = None if chosen.out is None else record.free(chosen.out)
    for mode in chosen.modes:
        rows += measure(chosen, mode)
        if out is not None:  # as soon as a mode is measured: a compilation may take longer than there is time
            record.write(out, settings, rows)
    print_table(rows, settings)


def measure(chosen: Any, mode: str) -> list[dict[str, Any]]:
    """A row for each method of a mode; the dense model is always among them, and the methods take turns.

    Args:
        chosen: the command line.
        mode: "eager" or "compiled".
    """
    device = torch.device(chosen.device)
    methods = list(dict.fromkeys(["none", *chosen.methods]))
    steps = {method: step_of(chosen, method, mode == "compiled", device) for method in methods}
    wait: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    with torch.enable_grad():
        for step in steps.values():  # compile, and give the optimizers their state
            step()
        memory = {method: peak_growth(step, device) for method, step in steps.items()}
        timings = interleave(steps, chosen.runs, time.perf_counter, wait)
    dense = timings["none"]
    return [
        {
            "method": method,
            "mode": mode,
            "steps_per_second": round(1 / timing.median, 3),
            "step_ms": round(1e3 * timing.median, 3),
            "step_spread_ms": round(1e3 * timing.spread, 3),
            "speed_up": round(median(a / b for a, b in zip(dense.all, timing.all, strict=True)), 3),
            "peak_memory_mb": None if (growth := memory[method]) is None else round(growth / 1e6, 1),
            "runs": timing.runs,
        }
        for method, timing in timings.items()
    ]


def step_of(chosen: Any, method: str, compiled: bool, device: torch.device) -> Callable[[], None]:
    """One training step, to be repeated: AdamW on cross-entropy with random weights and images.

    Args:
        chosen: the command line.
        method: a reducer, or "none".
        compiled: whether the model, with its reducers inside one graph, is compiled.
        device: where.
    """
    torch.manual_seed(0)
    vit = timm.create_model(f"{chosen.model}_patch16_224", img_size=chosen.size)
    model: nn.Module = vit if method == "none" else atc.wrap(vit, method, chosen.keep_rate)
    model = model.to(device).train()
    images = torch.randn(chosen.batch, 3, chosen.size, chosen.size, device=device)
    targets = torch.randint(CLASSES, (chosen.batch,), device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda")
    forward: Callable[[Tensor], Tensor] = torch.compile(model, fullgraph=True) if compiled else model
    dtype = DTYPES[chosen.precision]
    autocast = functools.partial(torch.autocast, device.type, dtype=dtype, enabled=dtype != torch.float32)
    return functools.partial(_step, forward, optimizer, images, targets, autocast)


def _step(
    forward: Callable[[Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    targets: Tensor,
    autocast: Callable[[], Any],
) -> None:
    with autocast():
        loss = F.cross_entropy(forward(images), targets)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def print_table(rows: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    """Print the rows."""
    where = "GPU" if settings["device"] == "cuda" else f"CPU, {settings['threads']} threads"
    title = f"Training {settings['model']}, keep rate {settings['keep_rate']}, batch {settings['batch']}"
    table = Table(title=f"{title}, {settings['precision']}, {where}")
    for heading in ("mode", "method", "steps/s", "ms", "± ms", "times dense", "peak MB"):
        table.add_column(heading, justify="left" if heading in ("mode", "method") else "right")
    for row in rows:
        memory = "–" if row["peak_memory_mb"] is None else f"{row['peak_memory_mb']:,.0f}"
        numbers = (row["steps_per_second"], row["step_ms"], row["step_spread_ms"], row["speed_up"])
        table.add_row(row["mode"], row["method"], *(f"{number:,.2f}" for number in numbers), memory)
    Console().print(table)

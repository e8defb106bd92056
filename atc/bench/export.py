"""An exported model against the same model in PyTorch: images in, logits out."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

import atc
from atc.bench import options, record
from atc.cost.interleaved import interleave

METHODS = ("none", "topk", "tome", "dpc_knn", "kmedoids", "atc_complete", "atc_average")


def main(arguments: list[str]) -> None:
    """Measure every method, print a table and write the result file."""
    chosen = options.parsed("export", arguments)
    torch.set_num_threads(chosen.threads)
    rows = [row for method in METHODS for row in measure(method, chosen)]
    settings = {"model": chosen.model, "keep_rate": chosen.keep_rate, "batch": chosen.batch, "threads": chosen.threads}
    print_table(rows, settings)
    if chosen.out is not None:
        record.write(record.free(chosen.out), settings, rows)


def measure(method: str, chosen: Any) -> list[dict[str, object]]:
    """A row: milliseconds an image in PyTorch and in onnxruntime, and seconds that the export took."""
    import timm

    vit = timm.create_model(f"{chosen.model}_patch16_224").eval()
    model = atc.wrap(vit, method, chosen.keep_rate)
    images = torch.randn(chosen.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        start = time.perf_counter()
        session = exported(model, images, Path(folder) / "model.onnx", chosen.threads)
        seconds = time.perf_counter() - start
        (given,) = (one.name for one in session.get_inputs())
        candidates = {
            "torch": lambda: model(images),
            "onnxruntime": lambda: session.run(None, {given: images.numpy()}),
        }
        timing = interleave(candidates, chosen.runs, time.perf_counter)
    each = {f"{name}_ms_an_image": round(found.least / chosen.batch * 1e3, 2) for name, found in timing.items()}
    return [{"method": method, **each, "export_seconds": round(seconds, 1)}]


def exported(model: torch.nn.Module, images: torch.Tensor, file: Path, threads: int) -> Any:
    """An onnxruntime session of the model at any batch size."""
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = ({0: torch.export.Dim("batch")},)
        torch.onnx.export(model, (images,), str(file), dynamo=True, dynamic_shapes=shapes, verbose=False)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])


def print_table(rows: list[dict[str, object]], settings: dict[str, object]) -> None:
    """Print the rows."""
    from rich.console import Console

    title = f"{settings['model']}, keep rate {settings['keep_rate']}, batch {settings['batch']}, CPU"
    table = Table(title=f"{title}, {settings['threads']} threads")
    for heading in ("method", "PyTorch, ms an image", "onnxruntime, ms an image", "export, s"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)

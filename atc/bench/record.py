"""Result files: numbers with the machine, the versions and the commit they belong to."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from atc import provenance
from atc.files import json_text, write_whole
from atc.ops.linkage import cpu

RIVALS = ("scikit-learn", "fastcluster", "triton", "onnxruntime")  # what is measured against, or with


def environment() -> dict[str, object]:
    """What a number depends on besides the code: a busy machine too."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": provenance.commit(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "machine": provenance.machine(),
        "versions": provenance.versions((*provenance.PACKAGES, *RIVALS)),
        "compiled_clustering": cpu.kernel() is not None,
    }


def free(path: Path) -> Path:
    """The path itself, or one with the time in its name if there is such a file: no result replaces another."""
    return path.with_stem(f"{path.stem}_{time.strftime('%Y-%m-%d_%H-%M-%S')}") if path.exists() else path


def unmeasurable(device: str) -> str | None:
    """Why clustering cannot be measured there, if so."""
    if device == "cpu" and cpu.kernel() is None:
        return "the clustering kernel is not compiled: install the package where there is a C++ compiler"
    if device == "cuda" and not torch.cuda.is_available():
        return "--device cuda: PyTorch sees no GPU here"
    return None


def write(path: Path, settings: Mapping[str, object], rows: Sequence[Mapping[str, object]]) -> None:
    """Write one result as JSON, a row a line so that versions can be compared."""
    head = json_text({"environment": environment(), "settings": dict(settings)}, indent=1).rstrip()
    lines = ",\n  ".join(json_text(dict(row), indent=None).rstrip() for row in rows)
    write_whole(path, f'{head[:-2]},\n "rows": [\n  {lines}\n ]\n}}\n')

"""What there is to compute with, as text to paste into an issue: versions, hardware, backends, compiled kernels.

    python -m atc.info           a few lines
    python -m atc.info --json    the same as JSON

It holds no names of users or machines, no paths and no settings but those that change how clustering is computed.
"""

import argparse
import logging
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from atc import __version__, provenance
from atc.config import streams
from atc.files import json_text

# Besides those that every result is recorded with: what else decides on numbers, and what is optional.
PACKAGES = (
    *provenance.PACKAGES,
    *("omegaconf", "scikit-learn", "safetensors", "huggingface-hub", "pillow"),
    *("triton", "cuda-bindings", "transformers", "diffusers", "open_clip_torch", "pycocotools", "pyarrow", "optuna"),
    *("onnx", "onnxruntime", "matplotlib", "wandb"),
)
VARIABLES = ("ATC_CHECK_PLANS", "OMP_NUM_THREADS", "TRITON_INTERPRET", "CUDA_LAUNCH_BLOCKING")


def collect() -> dict[str, Any]:
    """What the command prints.

    Returns:
        Plain values by part: `versions`, `commit` (None for an installed package), `system`, `processor`, `gpus`,
        `cuda`, `clustering` (the backends, which is chosen where, what is compiled) and `environment`.
    """
    import torch

    from atc.ops.gpu import has_triton
    from atc.ops.linkage import cpu, usable_backends

    machine = provenance.machine()
    gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    usable = usable_backends()
    compiled = cpu.kernel() is not None
    on_gpu = next((name for name in ("cuda", "triton") if name in usable), "torch")
    return {
        "versions": provenance.versions(PACKAGES) | {"atc-toolkit": __version__},
        "commit": provenance.short(provenance.commit()) if provenance.commit() else None,
        "installed": _how(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "c_library": " ".join(platform.libc_ver()).strip() or None,
        "processor": {
            "name": machine["processor"],
            "cores": machine["cores"],
            "threads": machine["threads"],
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "memory_gib": _gib(provenance.memory()),
        },
        "gpus": [
            {
                "name": gpu.name,
                "memory_gib": _gib(gpu.total_memory),
                "compute_capability": f"{gpu.major}.{gpu.minor}",
            }
            for gpu in gpus
        ],
        "cuda": {
            "pytorch_built_for": torch.version.cuda,
            "rocm": torch.version.hip,
            "cudnn": torch.backends.cudnn.version(),
            "tf32": provenance.tf32(bool(gpus)),
        },
        "clustering": {
            "backends": list(usable),
            "on_cpu": "cpu" if compiled else "torch",
            "on_gpu": on_gpu if gpus else None,
            "compiled_kernel": compiled,
            "compiled_kernel_among_neighbours": cpu.kernel_among() is not None,
            "triton": has_triton(),
        },
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def text(found: Mapping[str, Any]) -> str:
    """Lines for people.

    Args:
        found: as `collect` returns it.
    """
    processor, cuda, clustering = found["processor"], found["cuda"], found["clustering"]
    others = dict(found["versions"])
    named = [
        f"{name} {others.pop(name)}"
        for name in ("atc-toolkit", "python", "torch", "torchvision", "timm")
        if name in others
    ]
    kernels = {
        "compiled_kernel": "compiled for the CPU",
        "compiled_kernel_among_neighbours": "compiled among neighbours (dhtm)",
        "triton": "Triton",
    }
    lines = {
        "versions": ", ".join(named),
        "and": ", ".join(f"{name} {version}" for name, version in others.items()),
        "code": f"commit {found['commit']}" if found["commit"] else found["installed"],
        "system": ", ".join(filter(None, (found["system"], found["c_library"]))),
        "processor": f"{processor['name']}, {processor['cores']} cores, {processor['threads']} threads, "
        f"{processor['instructions']}, {processor['memory_gib']} GiB",
        "GPUs": "; ".join(
            f"{gpu['name']}, {gpu['memory_gib']} GiB, compute capability {gpu['compute_capability']}"
            for gpu in found["gpus"]
        )
        or "none",
        "CUDA": f"PyTorch built for {cuda['pytorch_built_for'] or cuda['rocm'] or 'none'}, "
        f"cuDNN {cuda['cudnn'] or 'none'}, TF32 {', '.join(name for name, on in cuda['tf32'].items() if on) or 'off'}",
        "clustering": f"backends {', '.join(clustering['backends'])}; in use: {clustering['on_cpu']} on a CPU"
        + (f", {clustering['on_gpu']} on a GPU" if clustering["on_gpu"] else ""),
        "kernels": "; ".join(f"{label}: {'yes' if clustering[name] else 'no'}" for name, label in kernels.items()),
        "environment": " ".join(f"{name}={value}" for name, value in found["environment"].items()) or "nothing set",
    }
    return "\n".join(f"{name + ':':13}{value}" for name, value in lines.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 0, 130 after Ctrl-C."""
    return streams.ended(lambda: _answer(arguments))


def _answer(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        "python -m atc.info", description="Versions, hardware, backends and compiled kernels, to paste into an issue."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    logging.getLogger("atc.ops").setLevel(logging.ERROR)  # a warning about a kernel names its path
    found = collect()
    print(json_text(found).rstrip() if given.json else text(found))
    return 0


def _how() -> str:
    """Where the package is from, without saying where it lies."""
    try:
        return (
            f"installed by {metadata.distribution('atc-toolkit').read_text('INSTALLER') or 'an unknown tool'}".strip()
        )
    except metadata.PackageNotFoundError:
        return "not installed: run from its files"


def _gib(size: int | None) -> float | None:
    return None if size is None else round(size / 2**30, 1)


if __name__ == "__main__":
    sys.exit(main())

"""Where a number comes from: the code, the versions and the machine that made it."""

import functools
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("atc-toolkit", "torch", "torchvision", "timm", "lightning", "torchmetrics", "hydra-core", "numpy", "scipy")
CODE = ("atc", "reducers", "conf", "datamodules", "sweeps")  # where a file that no commit holds decides about results


@functools.cache  # the code of a process is that of its start, wherever the checkout goes during a sweep
def commit() -> str | None:
    """Commit of the checkout this code runs from; None for an installed package.

    It ends in "-dirty" if files differ from it, or if it lacks some of the code or the settings, as those of a method
    that has not been added yet.
    """
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        describe = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        found = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
        untracked = ["git", "-C", str(root), "ls-files", "--others", "--exclude-standard", "--", *CODE]
        others = subprocess.run(untracked, capture_output=True, text=True, check=True).stdout.strip()
        return f"{found}-dirty" if others and not found.endswith("-dirty") else found
    except (OSError, subprocess.CalledProcessError):
        return None


def short(commit: str | None) -> str:
    """A commit to be read: ten digits, and whether files differed."""
    if commit is None:
        return "none"
    return commit[:10] + "-dirty" * commit.endswith("-dirty")


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What there is to compute with; threads: those that PyTorch uses now."""
    import torch  # slow, and not needed to list what a sweep has done

    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def origin() -> dict[str, Any]:
    """What a result is recorded with: commit, versions and machine."""
    return {"commit": commit(), "versions": versions(), "machine": machine()}


def tf32(on_gpu: bool) -> dict[str, bool]:
    """Whether float32 is rounded to TF32's 10 bits in products and convolutions: PyTorch's settings, on a GPU alone.

    Args:
        on_gpu: whether it computes on a GPU; a CPU has no TF32.
    """
    import torch

    convolutions: Any = torch.backends.cudnn
    backends = {"matrix_products": torch.backends.cuda.matmul, "convolutions": convolutions.conv}
    return {name: on_gpu and backend.fp32_precision == "tf32" for name, backend in backends.items()}


def memory() -> int | None:
    """Bytes of memory that this process may use: the machine's, or what its container is given; None if unknown."""
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
    try:
        return min(there, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        return there


@functools.cache
def processor() -> str:
    """The CPU's name as the system has it, which on Linux only /proc says."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

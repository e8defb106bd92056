"""The most memory a call has in use at a time."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch

from atc import provenance

_PROCESS = Path("/proc/self")


def memory(device: torch.device) -> int | None:
    """Bytes that a device has; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return provenance.memory()


def peak_growth(call: Callable[[], object], device: torch.device) -> int | None:
    """Bytes in use at the worst moment of `call`, beyond those in use before it.

    On a GPU by PyTorch's allocator. On a CPU by the operating system's resident memory, which counts whole pages and
    what libraries keep for themselves; None where the system, unlike Linux, has no such count to reset.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    _return_free_memory()
    try:
        (_PROCESS / "clear_refs").write_text("5")  # the peak starts anew at the present size
        before = _resident("VmRSS")
        call()
        return max(0, _resident("VmHWM") - before)
    except (OSError, KeyError):
        return None


def _return_free_memory() -> None:
    """Give freed memory back to the system; what a call takes from memory that the C library kept would not show."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return


def _resident(field: str) -> int:
    lines = dict(line.split(":", 1) for line in (_PROCESS / "status").read_text().splitlines() if ":" in line)
    return 1024 * int(lines[field].split()[0])

"""The batch as one launch, on PyTorch's current stream and in its memory; the host never waits.

So CUDA graphs can capture it, after a first call that compiles and loads the kernel. What is wanted is all the device
memory it takes.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from atc.ops.linkage.cuda import program
from atc.ops.linkage.job import check_job

# Warps hide each other's latency: where an image takes so much shared memory that only one block fits on a
# multiprocessor, the block has more of them. Registers suffice for either. Neither number has been measured.
THREADS, THREADS_ALONE = 512, 1024
_METHODS_OF_KEYS = ("single", "complete")  # their cells are 32-bit keys if the distances are float32


class Result(NamedTuple):
    """What the kernel writes."""

    labels: Tensor  # [B, N] int64
    merges: Tensor | None  # [B, N-K, 2] int64
    heights: Tensor | None  # [B, N-K] float64
    counters: Tensor | None  # [B, 4] int64: rounds, merges with surplus ones, cells scanned, 1 if one merge a round


class Job(ctypes.Structure):
    """``job.h``, field by field."""

    _fields_ = [
        ("distance", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("merges", ctypes.c_void_p),
        ("heights", ctypes.c_void_p),
        ("counters", ctypes.c_void_p),
        ("image_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("column_stride", ctypes.c_int64),
        ("tokens", ctypes.c_int64),
        ("keep", ctypes.c_int64),
    ]


def cluster(
    distance: Tensor, keep: int, method: str, *, want_merges: bool = False, want_counters: bool = False
) -> Result:
    """Cluster a batch.

    Args:
        distance: ``[B, N, N]`` float32 or float64 on a GPU, of any strides, N at most ``most_tokens``; only the part
            above the diagonal is read.
        keep: clusters to leave, at least 1; N or more merges nothing.
        method: single, complete, average or ward.
        want_merges: also return the merges in order, and their heights.
        want_counters: also return how much work was done.

    Raises:
        ValueError: one of these is not as described.
        RuntimeError: the device refuses the launch, for instance because an image needs more shared memory than it has.
    """
    if distance.get_device() < 0:
        raise ValueError(f"distance must be on a cuda device, got one on {distance.device}")
    distance = distance.resolve_neg()  # the kernel reads memory, where a lazy minus does not stand
    job, result = prepare(distance, keep, method, want_merges=want_merges, want_counters=want_counters)
    batch, tokens, _ = distance.shape
    if batch and tokens:
        device = distance.get_device()
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(job))  # copied by the launch
        shared = shared_bytes(tokens, method, distance.dtype)
        program.launch(
            program.loaded(device, method, distance.dtype),
            blocks=batch,
            threads=THREADS_ALONE if 2 * shared > program.shared_memory(device) else THREADS,
            shared=shared,
            stream=torch.cuda.current_stream(distance.device).cuda_stream,
            parameters=ctypes.addressof(parameters),
        )
    return result


def prepare(distance: Tensor, keep: int, method: str, *, want_merges: bool, want_counters: bool) -> tuple[Job, Result]:
    """Memory for the answer, and the job that fills it."""
    check_job(distance, keep, method, distance.device.type)
    batch, tokens, _ = distance.shape
    keep = min(keep, tokens)
    wanted: dict[str, tuple[list[int], torch.dtype]] = {"labels": ([batch, tokens], torch.int64)}
    if want_merges:
        wanted["merges"] = [batch, tokens - keep, 2], torch.int64
        wanted["heights"] = [batch, tokens - keep], torch.float64
    if want_counters:
        wanted["counters"] = [batch, 4], torch.int64
    made = {name: torch.empty(shape, dtype=dtype, device=distance.device) for name, (shape, dtype) in wanted.items()}
    job = Job(
        distance=distance.data_ptr(),
        image_stride=distance.stride(0),
        row_stride=distance.stride(1),
        column_stride=distance.stride(2),
        tokens=tokens,
        keep=keep,
        **{name: tensor.data_ptr() for name, tensor in made.items()},
    )
    return job, Result(made["labels"], made.get("merges"), made.get("heights"), made.get("counters"))


def shared_bytes(tokens: int, method: str, dtype: torch.dtype) -> int:
    """Shared memory of a block: a triangle of cells, two keys and eight 16-bit numbers a token, eight 32-bit words."""
    width = 4 if method in _METHODS_OF_KEYS and dtype == torch.float32 else 8
    return width * (tokens * (tokens - 1) // 2 + 2 * tokens) + 2 * 8 * tokens + 4 * 8


@cache
def most_tokens(shared_memory: int, method: str, dtype: torch.dtype) -> int:
    """The largest N for which a block gets by with so many bytes."""
    tokens = 0
    while shared_bytes(tokens + 1, method, dtype) <= shared_memory:
        tokens += 1
    return tokens


def complaint(distance: Tensor, method: str) -> str | None:
    """Why this backend cannot cluster this batch, or None if it can."""
    if distance.device.type != "cuda" or torch.version.cuda is None:
        return f"needs a tensor on an NVIDIA GPU, got one on {distance.device}"
    if program.bindings() is None:
        return "needs the cuda-bindings package and NVRTC, which PyTorch's CUDA wheels bring"
    device = distance.get_device()
    if not program.supports(torch.cuda.get_device_capability(device)):
        return f"needs a GPU that NVRTC still compiles for, got {torch.cuda.get_device_name(device)}"
    most = most_tokens(program.shared_memory(device), method, distance.dtype)
    if distance.shape[1] > most:
        kind = str(distance.dtype).removeprefix("torch.")
        return f"takes up to {most} tokens on this GPU for {method} linkage of {kind}, got {distance.shape[1]}"
    return None

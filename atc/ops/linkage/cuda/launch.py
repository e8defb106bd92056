"""The batch as one launch, on PyTorch's current stream and in its memory; the host never waits.

So CUDA graphs can capture it, after a first call that compiles and loads the kernel. An image whose cells fit in the
shared memory of a thread block is one block's work; a larger one is worked on in device memory by several.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from atc.ops.linkage.cuda import program
from atc.ops.linkage.cuda.binaries import BLOCK, GRID, TREE
from atc.ops.linkage.cuda.bindings import bindings, supports
from atc.ops.linkage.cuda.memory import grid_bytes, shared_bytes
from atc.ops.linkage.job import MOST_TOKENS_GPU, check_job

# Warps hide each other's latency: where an image takes so much shared memory that only one block fits on a
# multiprocessor, the block has more of them. Registers suffice for either. Neither number has been measured.
THREADS, THREADS_ALONE = 512, 1024
THREADS_GRID = 1024
MOST_SCRATCH = 1 << 31  # bytes for the images that are worked on at a time, or one image's: more of them take turns
_refused: set[int] = set()  # devices that refused to run blocks all at once


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
        ("memory", ctypes.c_void_p),
        ("barriers", ctypes.c_void_p),
        ("bytes", ctypes.c_int64),
        ("images", ctypes.c_int64),
        ("blocks", ctypes.c_int64),
    ]


class Shape(NamedTuple):
    """The shape of a launch: how many blocks there are, and how much of the GPU each gets."""

    kernel: program.Loaded
    blocks: int
    threads: int
    shared: int  # bytes of a block
    of_group: int = 1  # blocks that work on one image
    scratch: int = 0  # bytes of a group


def cluster(
    distance: Tensor,
    keep: int,
    method: str,
    *,
    want_merges: bool = False,
    want_counters: bool = False,
    source: str | None = None,
) -> Result:
    """Cluster a batch.

    Args:
        distance: ``[B, N, N]`` float32 or float64 on a GPU, of any strides, N at most
            ``MOST_TOKENS_GPU``; only the part above the diagonal is read.
        keep: clusters to leave, at least 1; N or more merges nothing.
        method: single, complete, average or ward.
        want_merges: also return the merges in order, and their heights.
        want_counters: also return how much work was done.
        source: the kernel, ``BLOCK`` or ``GRID``; None chooses by the memory that an image needs.

    Raises:
        ValueError: one of these is not as described.
        RuntimeError: the device refuses the launch, for instance because an image needs more shared memory than it has.
    """
    device = distance.get_device()
    if device < 0:
        raise ValueError(f"distance must be on a cuda device, got one on {distance.device}")
    distance = distance.resolve_neg()  # the kernel reads memory, where a lazy minus does not stand
    job, result = prepare(distance, keep, method, want_merges=want_merges, want_counters=want_counters)
    batch, tokens, _ = distance.shape
    if batch and tokens:
        problem = (device, method, distance.dtype, tokens, batch, source, want_merges)
        if not _launch(job, shape_of(*problem, device not in _refused), distance):
            _refused.add(device)
            _launch(job, shape_of(*problem, False), distance)
    return result


def prepare(distance: Tensor, keep: int, method: str, *, want_merges: bool, want_counters: bool) -> tuple[Job, Result]:
    """Memory for the answer, and the job that fills it."""
    check_job(distance, keep, method, distance.device.type)
    batch, tokens, _ = distance.shape
    if tokens > MOST_TOKENS_GPU:
        raise ValueError(f"distance must have up to {MOST_TOKENS_GPU} tokens, got {tokens}")
    left = max(tokens - keep, 0)
    empty, device = torch.empty, distance.device
    labels = empty(batch, tokens, dtype=torch.int64, device=device)
    merges = heights = counters = None
    if want_merges:
        merges = empty(batch, left, 2, dtype=torch.int64, device=device)
        heights = empty(batch, left, dtype=torch.float64, device=device)
    if want_counters:
        counters = empty(batch, 4, dtype=torch.int64, device=device)
    job = Job(
        distance.data_ptr(),
        labels.data_ptr(),
        None if merges is None else merges.data_ptr(),
        None if heights is None else heights.data_ptr(),
        None if counters is None else counters.data_ptr(),
        *distance.stride(),
        tokens,
        tokens - left,
        images=batch,
    )
    return job, Result(labels, merges, heights, counters)


@lru_cache(maxsize=4096)
def shape_of(
    device: int,
    method: str,
    dtype: torch.dtype,
    tokens: int,
    batch: int,
    source: str | None,
    want_merges: bool,
    together: bool,
) -> Shape:
    """The launch for a batch. Nothing of it depends on values, so that the host works it out once.

    Args:
        device: its index.
        method: the linkage.
        dtype: of the distances.
        tokens: N.
        batch: B.
        source: ``BLOCK``, ``GRID``, or None to choose.
        want_merges: also the merges in order.
        together: several blocks may work on an image.
    """
    shared, most_shared = shared_bytes(tokens, method, dtype), program.shared_memory(device)
    if source == BLOCK or (source is None and shared <= most_shared):
        threads = THREADS_ALONE if 2 * shared > most_shared else THREADS
        return Shape(program.loaded(device, BLOCK, method, dtype), batch, threads, shared)
    source = TREE if method == "single" and not want_merges else GRID
    scratch = grid_bytes(tokens, method, dtype)
    most = min(batch, max(1, MOST_SCRATCH // scratch))
    of_group, at_once = 1, program.multiprocessors(device)
    if together:
        may_wait = program.blocks_at_once(device, source, method, dtype, THREADS_GRID)
        of_group = max(1, min(may_wait // most, -(-tokens // 32)))
    groups = min(most, max(1, at_once // of_group))
    kernel = program.loaded(device, source, method, dtype)
    return Shape(kernel, groups * of_group, THREADS_GRID, 0, of_group, scratch)


def _launch(job: Job, shape: Shape, distance: Tensor) -> bool:
    """Whether it was queued; not if several blocks cannot work on an image here."""
    kernel, blocks, threads, shared, of_group, scratch = shape
    if scratch:
        groups = blocks // of_group
        memory = torch.empty(groups * scratch, dtype=torch.uint8, device=distance.device)
        barriers = torch.zeros(groups, dtype=torch.int32, device=distance.device) if of_group > 1 else memory
        job.memory, job.barriers, job.bytes, job.blocks = memory.data_ptr(), barriers.data_ptr(), scratch, of_group
    parameters = (ctypes.c_void_p * 1)(ctypes.addressof(job))  # copied by the launch
    stream = torch.cuda.current_stream(distance.device).cuda_stream
    address = ctypes.addressof(parameters)
    return program.launch(kernel, blocks, threads, shared, stream, address, together=of_group > 1)


def complaint(distance: Tensor, method: str) -> str | None:
    """Why this backend cannot cluster this batch, or None if it can."""
    if distance.device.type != "cuda" or torch.version.cuda is None:
        return f"needs a tensor on an NVIDIA GPU, got one on {distance.device}"
    if bindings() is None:
        return "needs the cuda-bindings package and NVRTC, which PyTorch's CUDA wheels bring"
    device = distance.get_device()
    if not supports(program.capability(device)):
        return f"needs a GPU that NVRTC still compiles for, got {torch.cuda.get_device_name(device)}"
    if distance.shape[1] > MOST_TOKENS_GPU:
        return f"takes up to {MOST_TOKENS_GPU} tokens, got {distance.shape[1]}"
    return None

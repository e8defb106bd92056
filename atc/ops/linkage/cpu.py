"""The ``cpu`` backend: the compiled kernel, loaded if the package was installed where there was a compiler."""

from __future__ import annotations

import ctypes
import logging
import math
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from atc.ops.linkage.job import check_job
from atc.ops.linkage.ranges import addresses, readable, split

LIBRARY = Path(__file__).with_name("_native.dll" if sys.platform == "win32" else "_native.so")  # as hatch_build.py
ABI = 4
_METHOD = {"single": 0, "complete": 1, "average": 2, "ward": 3}
ALGORITHM = {"automatic": 0, "greedy": 1, "prim": 2}
_FAILURE = {1: "not enough memory for the clustering workspace", 2: "the compiled kernel refused its arguments"}

_log = logging.getLogger(__name__)


class Result(NamedTuple):
    """What the kernel writes."""

    labels: Tensor  # [B, N] int64
    merges: Tensor | None  # [B, N-K, 2] int64
    heights: Tensor | None  # [B, N-K] float64
    counters: Tensor | None  # [B, 6] int64: merges, rescans, cells read, merges replayed, doubts, restarts


class _Job(ctypes.Structure):
    _fields_ = [
        ("distance", ctypes.c_void_p),
        ("image_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("images", ctypes.c_int64),
        ("tokens", ctypes.c_int64),
        ("keep", ctypes.c_int64),
        ("is_double", ctypes.c_int32),
        ("method", ctypes.c_int32),
        ("algorithm", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("limit", ctypes.c_double),
        ("forced", ctypes.c_int64),
        ("labels", ctypes.c_void_p),
        ("merges", ctypes.c_void_p),
        ("heights", ctypes.c_void_p),
        ("counters", ctypes.c_void_p),
    ]


class _Among(ctypes.Structure):
    _fields_ = [("neighbours", ctypes.c_void_p), ("once", ctypes.c_int32), ("reserved", ctypes.c_int32)]


@cache
def kernel() -> Callable[[object, int], int] | None:
    """The compiled function, or None (logged once) where there is none."""
    try:
        library = ctypes.CDLL(str(LIBRARY))
        version = library.atc_linkage_version()
    except (OSError, AttributeError) as error:
        _log.warning("no compiled clustering kernel, using the slower torch backend: %s", error)
        return None
    if version != ABI:
        text = "%s has interface %d, not %d, using the slower torch backend: reinstall the package"
        _log.warning(text, LIBRARY, version, ABI)
        return None
    function = library.atc_linkage
    function.argtypes = [ctypes.POINTER(_Job), ctypes.c_int]
    function.restype = ctypes.c_int
    return lambda job, avx2: function(job, avx2)


@cache
def kernel_among() -> Callable[[object, object, int], int] | None:
    """The compiled function for neighbours, or None (logged once) where there is none, as in an older library."""
    if kernel() is None:
        return None
    function: Any = of_library("atc_linkage_among")
    if function is None:
        text = "%s is older than this code and does not cluster among neighbours (reducer=dhtm does), using the slower "
        _log.warning(text + "torch backend: reinstall the package", LIBRARY)
        return None
    function.argtypes = [ctypes.POINTER(_Job), ctypes.POINTER(_Among), ctypes.c_int]
    return lambda job, among, avx2: function(job, among, avx2)


@cache
def of_library(name: str) -> Callable[..., int] | None:
    """A function of the compiled library that takes addresses, and whether to use AVX2; None where there is none.

    Args:
        name: of the function; an older library may lack it.
    """
    if kernel() is None:
        return None
    function = getattr(ctypes.CDLL(str(LIBRARY)), name, None)
    if function is not None:
        function.restype = ctypes.c_int
    return function


def cluster(
    distance: Tensor,
    keep: int,
    method: str,
    *,
    neighbours: Tensor | None = None,
    once: bool = False,
    limit: float = math.inf,
    forced: int = 0,
    want_merges: bool = False,
    want_counters: bool = False,
    algorithm: str = "automatic",
    avx2: bool = True,
) -> Result:
    """Cluster a batch, splitting it over ``torch.get_num_threads()`` threads.

    Args:
        distance: ``[B, N, N]`` float32 or float64 on a CPU; only the part above the diagonal is read.
        keep: clusters to leave, at least 1; N or more merges nothing.
        method: single, complete, average or ward.
        neighbours: ``[B, N, N]`` bool on a CPU, as in :mod:`atc.ops.linkage.among`; None: all clusters may merge.
        once: of neighbours: a union merges no further, and there may be more clusters than `keep`.
        limit: of merges in order: stop before the first of a larger height. Those not made are then of the last slot
            with itself, their heights infinite.
        forced: merges that are made whatever their height.
        want_merges: also return the merges in order, and their heights.
        want_counters: also return how much work was done.
        algorithm: a key of ``ALGORITHM``, for tests and measurements.
        avx2: use AVX2 where the processor has it; False is for tests.

    Raises:
        ValueError: one of these is not as described.
        RuntimeError: there is no compiled kernel, or it ran out of memory.
    """
    check_job(distance, keep, method, "cpu")
    if algorithm not in ALGORITHM:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHM)}, got {algorithm!r}")
    run, run_among = kernel(), kernel_among()
    if run is None or (neighbours is not None and run_among is None):
        raise RuntimeError(f"the compiled clustering kernel is missing: {LIBRARY} could not be loaded")
    distance = readable(distance)
    batch, tokens, _ = distance.shape
    if neighbours is not None:
        neighbours = neighbours.expand(distance.shape).contiguous()
    keep = min(keep, tokens)
    result = Result(
        labels=torch.empty(batch, tokens, dtype=torch.int64),
        merges=torch.empty(batch, tokens - keep, 2, dtype=torch.int64) if want_merges else None,
        heights=torch.empty(batch, tokens - keep, dtype=torch.float64) if want_merges else None,
        counters=torch.zeros(batch, 6, dtype=torch.int64) if want_counters else None,
    )
    if tokens == 0:
        return result

    written = {name: value for name, value in result._asdict().items() if value is not None}
    from_image = addresses({"distance": distance, **written})

    def run_range(start: int, stop: int) -> int:
        job = _Job(
            image_stride=distance.stride(0),
            row_stride=distance.stride(1),
            images=stop - start,
            tokens=tokens,
            keep=keep,
            is_double=distance.dtype == torch.float64,
            method=_METHOD[method],
            algorithm=ALGORITHM[algorithm],
            limit=limit,
            forced=forced,
            **from_image(start),
        )
        if neighbours is None or run_among is None:
            return run(job, avx2)
        return run_among(job, _Among(neighbours=neighbours[start:stop].data_ptr(), once=once), avx2)

    status = split(run_range, batch, batch * tokens * tokens)
    if status:
        raise RuntimeError(_FAILURE[status])
    return result

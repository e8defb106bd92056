"""The ``triton`` backend: one program an image, which runs the greedy algorithm with lazy rescans.

A merge stores one row and touches no column: the distance of two clusters is read from the row of whichever was
created later, and from the input if neither was. All state of a cluster lives in registers. The host launches
one kernel and never waits for it, so that CUDA graphs can capture it.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton gives the parameters of a kernel their types when it compiles it.

from __future__ import annotations

import os

import torch
import triton
from torch import Tensor

from atc.ops.linkage.job import check_job
from atc.ops.linkage.sort_keys import value_of
from atc.ops.linkage.triton.kernel import greedy

MOST_TOKENS = 1024
_METHOD = {"single": 0, "complete": 1, "average": 2, "ward": 3}


def cluster(
    distance: Tensor, keep: int, method: str, *, want_merges: bool = False
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Cluster a batch.

    Args:
        distance: ``[B, N, N]`` float32 or float64, N at most ``MOST_TOKENS``; only the part above the diagonal
            is read.
        keep: clusters to leave, at least 1; N or more merges nothing.
        method: single, complete, average or ward.
        want_merges: also return the merges ``[B, N-K, 2]`` int64 in order and their heights ``[B, N-K]`` float64.

    Returns:
        labels ``[B, N]`` int64, merges, heights.

    Raises:
        ValueError: one of the arguments is not as described.
    """
    check_job(distance, keep, method, "cpu" if os.environ.get("TRITON_INTERPRET") else "cuda")
    if distance.shape[1] > MOST_TOKENS:
        raise ValueError(f"distance must have up to {MOST_TOKENS} tokens, got {distance.shape[1]}")
    distance = distance.resolve_neg()  # the kernel reads memory, where a lazy minus does not stand
    batch, tokens, _ = distance.shape
    merged = max(tokens - keep, 0)
    device = distance.device
    if distance.stride(2) != 1 or distance.stride(1) > 1 << 20:  # positions within an image fit 32 bits
        distance = distance.contiguous()
    keys = torch.int64 if distance.dtype == torch.float64 or method in ("average", "ward") else torch.int32
    cells = torch.float64 if method in ("average", "ward") else keys
    labels = torch.empty(batch, tokens, dtype=torch.int64, device=device)
    rows = torch.empty(batch, merged, tokens, dtype=cells, device=device)
    merges = torch.empty(batch, merged, 2, dtype=torch.int64, device=device) if want_merges else None
    heights = torch.empty(batch, merged, dtype=keys, device=device) if want_merges else None
    if batch and tokens:
        padded = max(16, triton.next_power_of_2(tokens))
        with torch.cuda.device_of(distance):
            greedy[(batch,)](
                distance,
                distance.stride(0),
                distance.stride(1),
                rows,
                labels,
                merges if want_merges else labels,
                heights if want_merges else labels,
                tokens,
                merged,
                **launch_options(padded, method, keys == torch.int64, want_merges),
            )
    return labels, merges, None if heights is None else value_of(heights).double()


def launch_options(padded: int, method: str, wide: bool, want_merges: bool) -> dict[str, object]:
    """Compile-time constants; fused multiply-adds would round Ward's distances differently from the oracle."""
    return {
        "METHOD": _METHOD[method],
        "WIDE": wide,
        "MERGES": want_merges,
        "PADDED": padded,
        "TILE": max(1, min(16, 4096 // padded)),
        "num_warps": 4 if padded <= 256 else 8,
        "enable_fp_fusion": False,
    }

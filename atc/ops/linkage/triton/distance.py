"""Cosine distances of keys in one kernel: unit vectors, products and the subtraction, tile by tile."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import os
from typing import Any

import torch
import triton
from torch import Tensor

from atc.ops.linkage.triton.distance_kernel import cosine_distances

_TILE = 64
_WHOLE = 64  # numbers of a key up to which a program holds all of it


def distances(keys: Tensor, out: Tensor | None = None, *, both: bool = True) -> Tensor:
    """``1 - <x, y> / (|x| |y|)`` for all pairs of tokens of each image.

    Products are those of float32: each number is split into two of TensorFloat-32, of which three products are added
    (``tf32x3``); where a GPU does not have it, they are IEEE products. Nothing depends on the batch.

    Args:
        keys: ``[B, N, D]`` float16, bfloat16 or float32, read as they are in memory, whatever their strides.
        out: ``[B, N, N]`` float32 of which images may lie anywhere, and an image is contiguous; None makes one.
        both: write the part below the diagonal too, equal to that above to the bit; what it held stays otherwise (but
            for tiles on the diagonal).

    Returns:
        ``out``.
    """
    keys = keys.resolve_neg()
    batch, tokens, width = keys.shape
    if out is None:
        out = torch.empty(batch, tokens, tokens, dtype=torch.float32, device=keys.device)
    tiles = triton.cdiv(tokens, _TILE)
    if batch and tokens:
        with torch.cuda.device_of(keys):
            cosine_distances[(batch * tiles * tiles,)](
                *(keys, *keys.stride(), out, out.stride(0), tokens, tiles, int(both), width),
                **launch_options(width, precision(keys.device)),
            )
    return out


def launch_options(width: int, precision: str) -> dict[str, Any]:
    """Compile-time constants: none depends on the batch, or on which halves are written."""
    whole = width <= _WHOLE
    block = max(16, triton.next_power_of_2(width)) if whole else 32
    constants = {"WHOLE": whole, "TILE": _TILE, "BLOCK": block, "PRECISION": precision}
    return constants | {"num_warps": 8, "num_stages": 1, "enable_fp_fusion": False}


def precision(device: torch.device) -> str:
    """How products are taken: "tf32x3" from compute capability 8.0 on, else "ieee"."""
    if os.environ.get("TRITON_INTERPRET") or torch.version.hip is not None:
        return "ieee"
    return "tf32x3" if torch.cuda.get_device_capability(device) >= (8, 0) else "ieee"

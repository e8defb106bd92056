"""Launching the kernels of bipartite matching."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import torch
import triton
from torch import Tensor

from atc.ops.linkage.triton.distance import precision
from atc.ops.matching.triton.kernel import nearest_destinations, number_outputs

_TILE = 32
_MOST = 1024  # sources of an image that one program ranks; more are sorted


def best_partners(keys: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """The destination that each source is most similar to, the first of equals.

    Args:
        keys: ``[B, N, D]`` float16, bfloat16 or float32, read as they are in memory, whatever their strides.
        first: the position of the first source, 0 or 1.

    Returns:
        ``[B, sources]`` float32 similarities, minus infinity where none is a number, and int64 numbers of
        destinations.
    """
    keys = keys.resolve_neg()
    batch, tokens, width = keys.shape
    sources = (tokens - first + 1) // 2
    best = torch.empty(batch, sources, dtype=torch.float32, device=keys.device)
    partner = torch.empty(batch, sources, dtype=torch.int64, device=keys.device)
    tiles = triton.cdiv(sources, _TILE)
    if batch and sources:
        with torch.cuda.device_of(keys):
            nearest_destinations[(batch * tiles,)](
                *(keys, *keys.stride(), best, partner, sources, tokens - sources, first, tiles, width),
                **constants(precision(keys.device)),
            )
    return best, partner


def constants(kind: str) -> dict[str, object]:
    """Compile-time constants of the first kernel; `kind` is how products are taken."""
    options = {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": False}
    return {"TILE": _TILE, "BLOCK": 32, "PRECISION": kind, **options}


def labels_of_matches(best: Tensor, partner: Tensor, tokens: int, keep: int, first: int, ranked: bool) -> Tensor:
    """As `atc.ops.matching.labels_plainly`.

    Args:
        best: ``[B, sources]`` float32, contiguous.
        partner: ``[B, sources]`` int64, contiguous.
        tokens: N.
        keep: K.
        first: the position of the first source.
        ranked: as of `atc.ops.matching.bipartite_labels`.

    Returns:
        ``[B, N]`` int64.
    """
    batch, sources = best.shape
    if sources > _MOST:
        from atc.ops.matching import labels_plainly

        return labels_plainly(best, partner, tokens, keep, first, ranked)
    labels = torch.empty(batch, tokens, dtype=torch.int64, device=best.device)
    if batch and tokens:
        width = max(16, triton.next_power_of_2(sources))
        with torch.cuda.device_of(best):
            number_outputs[(batch,)](
                *(best, partner, labels, tokens, sources, tokens - keep, first, int(ranked)),
                **ranking(width),
            )
    return labels


def ranking(sources: int) -> dict[str, object]:
    """Compile-time constants of the second kernel for a power of two that is no fewer than the sources."""
    chunk = max(16, min(sources, 8192 // sources))
    return {"SOURCES": sources, "CHUNK": chunk, "num_warps": max(4, sources * chunk // 2048)}

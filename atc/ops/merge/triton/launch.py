"""Launches the kernels: one for the lists of members and one for the merged rows, or one for selected rows.

Nothing waits for the host, and nothing depends on the batch: an image gets the same bits alone and among others.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from atc.ops.merge.triton.copies import select_rows, spread_gradients
from atc.ops.merge.triton.kernel import list_members, merge_rows

_TILE = 64  # tokens of which a program finds the ranks at once
_ROWS, _CHANNELS = 8, 128
_SHORT = 8  # members of a group that are added one by one; those behind them in chunks
# Assertions of the device only: without them, labels out of range would pass unseen. No fused multiply-adds: a group of
# up to 8 tokens gets the bits that a CPU gives it.
OPTIONS: dict[str, Any] = {
    "num_warps": 4,
    "num_stages": 1,
    "enable_fp_fusion": False,
    "debug": True,
    "sanitize_overflow": False,
}


def members(labels: Tensor, num_groups: int) -> Tensor:
    """Lists of the tokens of each group.

    Args:
        labels: ``[B, N]`` int64, contiguous.
        num_groups: K.

    Returns:
        ``[B, 2N + 2K]`` int32: N tokens by group and ascending, N ranks, K begins and K ends of groups.
    """
    batch, tokens = labels.shape
    lists = torch.empty(batch, 2 * tokens + 2 * num_groups, dtype=torch.int32, device=labels.device)
    if batch:
        list_members[(batch,)](labels, lists, tokens, num_groups, TILE=_TILE, **OPTIONS)
    return lists


def merge(
    x: Tensor,
    labels: Tensor,
    num_groups: int,
    weight: Tensor | None,
    size: Tensor | None,
    prefix: int,
    average: bool,
    eps: float,
    empty_groups: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """As the operator ``atc::merge``, of checked arguments."""
    x = _rows(x)
    batch, length, channels = x.shape
    sums = torch.promote_types(x.dtype, torch.float32)
    out = torch.empty(batch, prefix + num_groups, channels, dtype=x.dtype, device=x.device)
    sizes = x.new_empty(0) if size is None else size.new_empty(batch, num_groups)
    totals = torch.empty((batch, num_groups) if average else 0, dtype=sums if average else x.dtype, device=x.device)
    labels, factor, given = _plain(labels), _plain(x if weight is None else weight), _plain(x if size is None else size)
    tiles, parts, block = _grid(prefix + num_groups, channels)
    if batch and tiles:
        with torch.cuda.device_of(x):
            merge_rows[(batch * tiles, parts)](
                *(x, x.stride(0), x.stride(1), members(labels, num_groups), factor, given, out, sizes, totals),
                *(length - prefix, num_groups, prefix, tiles, channels),
                **merge_options(weight is not None, size, average, eps, empty_groups, sums, block, labels.shape[1]),
            )
    return out, sizes, totals


def select(x: Tensor, indices: Tensor, size: Tensor | None, prefix: int) -> tuple[Tensor, Tensor]:
    """As the operator ``atc::select``, of checked arguments."""
    x = _rows(x)
    batch, length, channels = x.shape
    kept = indices.shape[1]
    out = torch.empty(batch, prefix + kept, channels, dtype=x.dtype, device=x.device)
    sizes = x.new_empty(0) if size is None else size.new_empty(batch, kept)
    given = _plain(x if size is None else size)
    tiles, parts, block = _grid(prefix + kept, channels)
    if batch and tiles:
        with torch.cuda.device_of(x):
            select_rows[(batch * tiles, parts)](
                *(x, x.stride(0), x.stride(1), _plain(indices), given, out, sizes),
                *(length - prefix, kept, prefix, tiles, channels),
                **select_options(size is not None, block),
            )
    return out, sizes


def spread(
    of_tokens: Tensor, labels: Tensor, weight: Tensor | None, total: Tensor | None, prefix: int, empty_groups: bool
) -> Tensor:
    """The gradient with respect to ``x`` of `merge`.

    Args:
        of_tokens: ``[B, P+K, C]`` gradient with respect to merged tokens.
        labels: ``[B, N]`` int64.
        weight: ``[B, N]``, or None.
        total: ``[B, K]`` sums of weights by which means were divided, or None for sums.
        prefix: P.
        empty_groups: as for `merge`.

    Returns:
        ``[B, P+N, C]`` of the dtype of ``of_tokens``.
    """
    of_tokens = _rows(of_tokens)
    batch, rows, channels = of_tokens.shape
    tokens = labels.shape[1]
    out = of_tokens.new_empty(batch, prefix + tokens, channels)
    factor = _plain(of_tokens if weight is None else weight)
    divisor = _plain(of_tokens if total is None else total)
    tiles, parts, block = _grid(prefix + tokens, channels)
    if batch and tiles:
        with torch.cuda.device_of(of_tokens):
            spread_gradients[(batch * tiles, parts)](
                *(of_tokens, of_tokens.stride(0), of_tokens.stride(1), _plain(labels), factor, divisor, out),
                *(tokens, rows - prefix, prefix, tiles, channels),
                **spread_options(weight is not None, total is not None, empty_groups, of_tokens.dtype, block),
            )
    return out


def spread_options(weighted: bool, average: bool, empty: bool, dtype: torch.dtype, block: int) -> dict[str, Any]:
    """Constants of `spread_gradients`, and how it is compiled."""
    sums = torch.promote_types(dtype, torch.float32)
    constants = {"WEIGHTED": weighted, "AVERAGE": average, "EMPTY": empty, "SUM": _triton(sums)}
    return constants | {"WIDE": sums == torch.float64, "ROWS": _ROWS, "CHANNELS": block, **OPTIONS}


def merge_options(
    weighted: bool,
    size: Tensor | None,
    average: bool,
    eps: float,
    empty: bool,
    sums: torch.dtype,
    block: int,
    tokens: int,
) -> dict[str, Any]:
    """Constants of `merge_rows`, and how it is compiled."""
    of_size = torch.float32 if size is None else torch.promote_types(size.dtype, torch.float32)
    return {
        "WEIGHTED": weighted,
        "SIZED": size is not None,
        "AVERAGE": average,
        "EMPTY": empty,
        "EPS": float(eps),
        "SUM": _triton(sums),
        "WIDE": sums == torch.float64,
        "SIZE_SUM": _triton(of_size),
        "ROWS": _ROWS,
        "CHANNELS": block,
        "SHORT": _SHORT,
        "LONG": 16 if tokens <= 256 else 32,
        **OPTIONS,
    }


def select_options(sized: bool, block: int) -> dict[str, Any]:
    """Constants of `select_rows`, and how it is compiled."""
    return {"SIZED": sized, "ROWS": _ROWS, "CHANNELS": block, **OPTIONS}


def _grid(rows: int, channels: int) -> tuple[int, int, int]:
    """Programs for the rows of an image, programs for their channels, and channels of each."""
    block = min(_CHANNELS, max(16, triton.next_power_of_2(channels)))
    return triton.cdiv(rows, _ROWS), max(1, triton.cdiv(channels, block)), block


def _rows(x: Tensor) -> Tensor:
    """Tokens whose channels lie side by side in memory, with their signs."""
    x = x.resolve_neg()
    return x if x.stride(2) == 1 else x.contiguous()


def _plain(value: Tensor) -> Tensor:
    return value.resolve_neg().contiguous()


def _triton(dtype: torch.dtype) -> Any:
    return tl.float64 if dtype == torch.float64 else tl.float32

"""Kernels that copy rows: gradients to the tokens of a group, and tokens that are kept."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton gives the parameters of a kernel their types when it compiles it.

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["tokens", "groups", "prefix", "tiles"])
def spread_gradients(
    of_rows,
    of_image,
    of_row,
    labels,
    weight,
    totals,
    out,
    tokens,
    groups,
    prefix,
    tiles,
    channels,
    WEIGHTED: tl.constexpr,
    AVERAGE: tl.constexpr,
    EMPTY: tl.constexpr,
    SUM: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Give some tokens the gradient of the row they went to, by its sum of weights and times their own."""
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    row = (program % tiles) * ROWS + tl.arange(0, ROWS)
    token = row - prefix
    is_prefix = row < prefix
    is_token = (token >= 0) & (token < tokens)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = (channel < channels)[None, :]
    label = tl.load(labels + image * tokens + token, mask=is_token, other=-1)
    merged = is_token & (label >= 0) & (label < groups)
    place = tl.where(is_prefix, row, label + prefix).to(tl.int64)
    at = of_rows + image * of_image + place[:, None] * of_row + channel[None, :]
    given = tl.load(at, mask=(is_prefix | merged)[:, None] & inside, other=0).to(SUM)
    if AVERAGE:
        divisor = tl.load(totals + image * groups + label, mask=merged, other=1)
        if EMPTY:
            divisor = tl.where(divisor == 0, 1, divisor)
        wide = divisor[:, None] + tl.zeros_like(given)
        if WIDE:
            given = given / wide
        else:
            given = tl.div_rn(given, wide)
    if WEIGHTED:
        given *= tl.load(weight + image * tokens + token, mask=merged, other=1).to(SUM)[:, None]
    target = out + (image * (prefix + tokens) + row[:, None]) * channels + channel[None, :]
    tl.store(target, given.to(out.dtype.element_ty), mask=(is_prefix | is_token)[:, None] & inside)


@triton.jit(do_not_specialize=["tokens", "kept", "prefix", "tiles"])
def select_rows(
    x,
    x_image,
    x_token,
    indices,
    size,
    out,
    sizes,
    tokens,
    kept,
    prefix,
    tiles,
    channels,
    SIZED: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Copy some rows: prefix tokens, and those that are kept."""
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    row = (program % tiles) * ROWS + tl.arange(0, ROWS)
    is_prefix = row < prefix
    is_kept = (row >= prefix) & (row < prefix + kept)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    token = tl.load(indices + image * kept + row - prefix, mask=is_kept, other=0)
    tl.device_assert((token >= 0) & (token < tl.maximum(tokens, 1)), "indices must lie in [0, N)")
    there = is_kept & (token >= 0) & (token < tokens)
    place = tl.where(is_prefix, row, token + prefix)
    mask = (is_prefix | there)[:, None] & (channel < channels)[None, :]
    found = tl.load(x + image * x_image + place[:, None].to(tl.int64) * x_token + channel[None, :], mask=mask, other=0)
    tl.store(out + (image * (prefix + kept) + row[:, None]) * channels + channel[None, :], found, mask=mask)
    if SIZED:  # noqa: SIM102 (a constant, and a value of the program)
        if tl.program_id(1) == 0:
            own = tl.load(size + image * tokens + token, mask=there, other=0)
            tl.store(sizes + image * kept + row - prefix, own, mask=there)

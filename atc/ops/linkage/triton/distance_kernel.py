"""The kernel of cosine distances; `atc.ops.linkage.triton.distance` launches it."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton gives the parameters of a kernel their types when it compiles it.

from __future__ import annotations

import triton
import triton.language as tl

TINY = tl.constexpr(2.0**-126)  # the smallest normal number of float32


@triton.jit
def tile_of(keys, row, row_stride, column, column_stride, rows, columns):
    """Numbers ``[TILE, BLOCK]`` of some tokens as float32, zeros outside."""
    at = keys + row[:, None].to(tl.int64) * row_stride + column[None, :].to(tl.int64) * column_stride
    return tl.load(at, mask=(row < rows)[:, None] & (column < columns)[None, :], other=0).to(tl.float32)


@triton.jit
def power_of_two(largest):
    """What brings the largest magnitude near 1; see `atc.ops.scale.power_of_two`."""
    bits = 0x7F000000 - (largest.to(tl.int32, bitcast=True) & 0x7F800000)
    return tl.maximum(bits.to(tl.float32, bitcast=True), TINY)


@triton.jit
def length_of(square):
    """The square root, ``TINY`` at least; NaN stays NaN."""
    length = tl.sqrt_rn(square)
    return tl.where(length < TINY, TINY, length)


@triton.jit
def scale_and_length(keys, row, row_stride, column_stride, rows, columns, BLOCK: tl.constexpr, TILE: tl.constexpr):
    """Of each token the power of two, and the length that it has under it, at least ``TINY``."""
    largest = tl.zeros([TILE], tl.float32)
    for start in range(0, columns, BLOCK):
        column = start + tl.arange(0, BLOCK)
        largest = tl.maximum(
            largest, tl.max(tl.abs(tile_of(keys, row, row_stride, column, column_stride, rows, columns)), axis=1)
        )
    scale = power_of_two(largest)
    square = tl.zeros([TILE], tl.float32)
    for start in range(0, columns, BLOCK):
        column = start + tl.arange(0, BLOCK)
        part = tile_of(keys, row, row_stride, column, column_stride, rows, columns) * scale[:, None]
        square += tl.sum(part * part, axis=1)
    return scale, length_of(square)


@triton.jit
def units(part, scale, length):
    """``part * scale / length``: parts of unit vectors."""
    return tl.div_rn(part * scale[:, None], length[:, None] + tl.zeros_like(part))


@triton.jit(do_not_specialize=["tokens", "tiles", "both"])
def cosine_distances(
    keys,
    image_stride,
    row_stride,
    column_stride,
    out,
    out_image_stride,
    tokens,
    tiles,
    both,
    width,
    WHOLE: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Write a tile of an image's distances on or above the diagonal, and its mirror image if ``both`` is not 0."""
    program = tl.program_id(0)
    image = (program // (tiles * tiles)).to(tl.int64)
    tile = program % (tiles * tiles)
    i = tile // tiles
    j = tile % tiles
    if j >= i:
        keys += image * image_stride
        out += image * out_image_stride
        row = i * TILE + tl.arange(0, TILE)
        other = j * TILE + tl.arange(0, TILE)
        if WHOLE:  # all of a key fits: it is read once
            column = tl.arange(0, BLOCK)
            a = tile_of(keys, row, row_stride, column, column_stride, tokens, width)
            b = tile_of(keys, other, row_stride, column, column_stride, tokens, width)
            scale_a = power_of_two(tl.max(tl.abs(a), axis=1))
            scale_b = power_of_two(tl.max(tl.abs(b), axis=1))
            square_a = tl.sum((a * scale_a[:, None]) * (a * scale_a[:, None]), axis=1)
            square_b = tl.sum((b * scale_b[:, None]) * (b * scale_b[:, None]), axis=1)
            a = units(a, scale_a, length_of(square_a))
            b = units(b, scale_b, length_of(square_b))
            product = tl.dot(a, tl.trans(b), input_precision=PRECISION)
        else:
            scale_a, length_a = scale_and_length(keys, row, row_stride, column_stride, tokens, width, BLOCK, TILE)
            scale_b, length_b = scale_and_length(keys, other, row_stride, column_stride, tokens, width, BLOCK, TILE)
            product = tl.zeros([TILE, TILE], tl.float32)
            for start in range(0, width, BLOCK):
                column = start + tl.arange(0, BLOCK)
                a = units(tile_of(keys, row, row_stride, column, column_stride, tokens, width), scale_a, length_a)
                b = units(tile_of(keys, other, row_stride, column, column_stride, tokens, width), scale_b, length_b)
                product = tl.dot(a, tl.trans(b), acc=product, input_precision=PRECISION)
        distance = 1.0 - product
        if i == j:  # the products of a pair are not added in the same order both ways
            distance = tl.where(row[:, None] <= other[None, :], distance, tl.trans(distance))
        inside = (row < tokens)[:, None] & (other < tokens)[None, :]
        tl.store(out + row[:, None].to(tl.int64) * tokens + other[None, :], distance, mask=inside)
        if (both != 0) & (j > i):
            tl.store(out + other[None, :].to(tl.int64) * tokens + row[:, None], distance, mask=inside)

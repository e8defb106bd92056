"""The kernels of bipartite matching; `atc.ops.matching.triton.launch` launches them."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton gives the parameters of a kernel their types when it compiles it.

from __future__ import annotations

import triton
import triton.language as tl

from atc.ops.linkage.triton.distance_kernel import scale_and_length, tile_of, units


@triton.jit(do_not_specialize=["sources", "destinations", "first", "tiles"])
def nearest_destinations(
    keys,
    image_stride,
    row_stride,
    column_stride,
    best,
    partner,
    sources,
    destinations,
    first,
    tiles,
    width,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Write the highest similarity of some sources of an image to a destination, and to which; the first of equals."""
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    source = (program % tiles) * TILE + tl.arange(0, TILE)
    ours = keys + image * image_stride + first * row_stride
    theirs = keys + image * image_stride + (1 - first) * row_stride
    step = 2 * row_stride
    scale_a, length_a = scale_and_length(ours, source, step, column_stride, sources, width, BLOCK, TILE)
    highest = tl.full([TILE], float("-inf"), tl.float32)
    where = tl.zeros([TILE], tl.int32)
    for begin in range(0, destinations, TILE):
        other = begin + tl.arange(0, TILE)
        scale_b, length_b = scale_and_length(theirs, other, step, column_stride, destinations, width, BLOCK, TILE)
        product = tl.zeros([TILE, TILE], tl.float32)
        for start in range(0, width, BLOCK):
            column = start + tl.arange(0, BLOCK)
            a = units(tile_of(ours, source, step, column, column_stride, sources, width), scale_a, length_a)
            b = units(tile_of(theirs, other, step, column, column_stride, destinations, width), scale_b, length_b)
            product = tl.dot(a, tl.trans(b), acc=product, input_precision=PRECISION)
        # What is no number is never the highest
        usable = (other < destinations)[None, :] & (product == product)
        product = tl.where(usable, product, float("-inf"))
        top = tl.max(product, axis=1)
        at = tl.min(tl.where(product == top[:, None], other[None, :], destinations), axis=1)
        better = top > highest
        where = tl.where(better, at, where)
        highest = tl.where(better, top, highest)
    inside = source < sources
    tl.store(best + image * sources + source, highest, mask=inside)
    tl.store(partner + image * sources + source, where.to(tl.int64), mask=inside)


@triton.jit(do_not_specialize=["tokens", "sources", "removed", "first", "ranked"])
def number_outputs(
    best,
    partner,
    labels,
    tokens,
    sources,
    removed,
    first,
    ranked,
    SOURCES: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Write the labels of one image: its sources ranked by similarity, the first of equals first."""
    image = tl.program_id(0).to(tl.int64)
    best += image * sources
    source = tl.arange(0, SOURCES)
    inside = source < sources
    mine = tl.load(best + source, mask=inside, other=float("-inf"))
    rank = tl.zeros([SOURCES], tl.int32)
    for begin in range(0, sources, CHUNK):
        other = begin + tl.arange(0, CHUNK)
        theirs = tl.load(best + other, mask=other < sources, other=float("-inf"))[None, :]
        ahead = (theirs > mine[:, None]) | ((theirs == mine[:, None]) & (other[None, :] < source[:, None]))
        rank += tl.sum((ahead & (other < sources)[None, :]).to(tl.int32), axis=1)
    stays = (rank >= removed) & inside
    unmerged = sources - removed
    mate = tl.load(partner + image * sources + source, mask=inside, other=0)
    number = tl.where(ranked != 0, rank - removed, tl.cumsum(stays.to(tl.int32), axis=0) - 1)
    label = tl.where(stays, number.to(tl.int64), unmerged + mate)
    out = labels + image * tokens
    tl.store(out + first + 2 * source, label, mask=inside)
    # Destinations are as many as sources, or one more or less
    for begin in range(0, SOURCES + 1, SOURCES):
        place = begin + source
        tl.store(out + (1 - first) + 2 * place, (unmerged + place).to(tl.int64), mask=place < tokens - sources)

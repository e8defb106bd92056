"""The kernel of the ``triton`` backend; `atc.ops.linkage.triton.launch` launches it."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton gives the parameters of a kernel their types when it compiles it.

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def order(value, WIDE: tl.constexpr):
    """Integers that sort like floats, with NaN last; see ``sort_keys.py``."""
    value += 0.0
    if WIDE:
        bits = value.to(tl.float64).to(tl.int64, bitcast=True)
        key = bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)
        return tl.where(value != value, 0x7FF8000000000000, key)
    else:
        bits = value.to(tl.int32, bitcast=True)
        key = bits ^ ((bits >> 31) & 0x7FFFFFFF)
        return tl.where(value != value, 0x7FC00000, key)


@triton.jit
def pick(vector, slots, slot):
    """The element at ``slot``."""
    return tl.sum(tl.where(slots == slot, vector, tl.zeros_like(vector)), axis=0)


@triton.jit
def first_smallest(keys, slots):
    """The smallest key and the first slot that has it."""
    smallest = tl.min(keys, axis=0)
    return smallest, tl.min(tl.where(keys == smallest, slots, 0x7FFFFFFF), axis=0)


@triton.jit
def row_of(
    image, row_stride, rows, slot, born_slot, slots, born, living, tokens, METHOD: tl.constexpr, WIDE: tl.constexpr
):
    """Cells between ``slot`` and all others, each from the row of the cluster created later."""
    others = living & (slots != slot)
    fresh = others & (born + born_slot == 0)
    stored = others & (born + born_slot > 0)
    given = tl.load(image + tl.minimum(slots, slot) * row_stride + tl.maximum(slots, slot), mask=fresh, other=0)
    if METHOD >= 2:
        given = given.to(tl.float64)
    else:
        given = order(given, WIDE)
    index = tl.where(born > born_slot, (born - 1) * tokens + slot, (born_slot - 1) * tokens + slots)
    return tl.where(fresh, given, tl.load(rows + index, mask=stored, other=0))


@triton.jit
def key_of_cells(cells, size_slot, size, others, METHOD: tl.constexpr, WIDE: tl.constexpr, LAST: tl.constexpr):
    """Keys of a row; ``LAST`` where there is no pair."""
    if METHOD == 2:
        keys = order(cells / (size_slot * size), WIDE)
    elif METHOD == 3:
        keys = order(cells, WIDE)
    else:
        keys = cells
    return tl.where(others, keys, LAST)


@triton.jit
def greedy(
    distance,
    image_stride,
    row_stride,
    rows,
    labels,
    merges,
    heights,
    tokens,
    merged,
    METHOD: tl.constexpr,
    WIDE: tl.constexpr,
    MERGES: tl.constexpr,
    PADDED: tl.constexpr,
    TILE: tl.constexpr,
):
    """Cluster one image: write its labels, and its merges and heights in the order in which they happen."""
    number = tl.program_id(0).to(tl.int64)
    image = distance + number * image_stride
    rows += number * merged * tokens
    labels += number * tokens
    slots = tl.arange(0, PADDED)
    inside = slots < tokens
    LAST: tl.constexpr = 0x7FFFFFFFFFFFFFFF if WIDE else 0x7FFFFFFF
    nearest = tl.full([PADDED], LAST, tl.int64 if WIDE else tl.int32)
    neighbour = tl.zeros([PADDED], tl.int32)

    # The first pass, a few rows at a time.
    for top in range(0, tokens, TILE):
        down = top + tl.arange(0, TILE)
        pair = (down[:, None] < tokens) & inside[None, :] & (down[:, None] != slots[None, :])
        low = tl.minimum(down[:, None], slots[None, :])
        high = tl.maximum(down[:, None], slots[None, :])
        keys = tl.where(pair, order(tl.load(image + low * row_stride + high, mask=pair, other=0), WIDE), LAST)
        smallest = tl.min(keys, axis=1)
        at = tl.min(tl.where(keys == smallest[:, None], slots[None, :], 0x7FFFFFFF), axis=1)
        here = down[:, None] == slots[None, :]
        mine = (slots >= top) & (slots < top + TILE) & inside
        nearest = tl.where(mine, tl.sum(tl.where(here, smallest[:, None], 0), axis=0), nearest)
        neighbour = tl.where(mine, tl.sum(tl.where(here, at[:, None], 0), axis=0).to(tl.int32), neighbour)

    born = tl.zeros([PADDED], tl.int32)  # merges after which the cluster exists
    size = tl.full([PADDED], 1.0, tl.float64)
    stale = tl.zeros([PADDED], tl.int32)  # the nearest key is only a lower bound
    root = slots
    living = inside
    done = 0
    while done < merged:
        key, slot = first_smallest(nearest, slots)
        born_slot = pick(born, slots, slot)
        size_slot = pick(size, slots, slot)
        cells = row_of(image, row_stride, rows, slot, born_slot, slots, born, living, tokens, METHOD, WIDE)
        if pick(stale, slots, slot) != 0:
            keys = key_of_cells(cells, size_slot, size, living & (slots != slot), METHOD, WIDE, LAST)
            key, at = first_smallest(keys, slots)
            nearest = tl.where(slots == slot, key, nearest)
            neighbour = tl.where(slots == slot, at, neighbour)
            stale = tl.where(slots == slot, 0, stale)
        else:
            other = pick(neighbour, slots, slot)
            born_other = pick(born, slots, other)
            size_other = pick(size, slots, other)
            others = row_of(image, row_stride, rows, other, born_other, slots, born, living, tokens, METHOD, WIDE)
            low = tl.minimum(slot, other)
            high = tl.maximum(slot, other)
            if METHOD == 0:
                cells = tl.minimum(cells, others)
            elif METHOD == 1:
                cells = tl.maximum(cells, others)
            elif METHOD == 2:
                cells = cells + others
            else:
                apart = pick(cells, slots, other)
                grown = (size_slot + size) * cells + (size_other + size) * others
                cells = (grown - size * apart) / (size_slot + size_other + size)
            if MERGES:
                tl.store(merges + (number * merged + done) * 2, low.to(tl.int64))
                tl.store(merges + (number * merged + done) * 2 + 1, high.to(tl.int64))
                tl.store(heights + number * merged + done, key)
            tl.store(rows + done * tokens + slots, cells, mask=inside)
            tl.debug_barrier()  # later iterations read the row with other threads
            done += 1
            living = living & (slots != low)
            remaining = living & (slots != high)
            keys = key_of_cells(cells, size_slot + size_other, size, remaining, METHOD, WIDE, LAST)
            stale = stale | ((neighbour == low) | (neighbour == high)).to(tl.int32)
            if METHOD >= 2:
                # Rounding may put a merged distance below both that it came from.
                undercut = remaining & ((keys < nearest) | ((keys == nearest) & (high < neighbour)))
                nearest = tl.where(undercut, keys, nearest)
                neighbour = tl.where(undercut, high, neighbour)
                stale = stale | undercut.to(tl.int32)
            key, at = first_smallest(keys, slots)
            nearest = tl.where(slots == high, key, tl.where(slots == low, LAST, nearest))
            neighbour = tl.where(slots == high, at, neighbour)
            stale = tl.where(slots == high, 0, stale)
            born = tl.where(slots == high, done, born)
            size = tl.where(slots == high, size_slot + size_other, size)
            root = tl.where(root == low, high, root)

    # Number the clusters by first appearance. Roots go through memory to be seen along both axes of a tile.
    tl.store(labels + slots, root.to(tl.int64), mask=inside)
    tl.debug_barrier()
    first = tl.zeros([PADDED], tl.int32)
    for top in range(0, tokens, TILE):
        down = top + tl.arange(0, TILE)
        of_row = tl.load(labels + down, mask=down < tokens, other=-1).to(tl.int32)
        same = (of_row[:, None] == root[None, :]) & inside[None, :]
        least = tl.min(tl.where(same, slots[None, :], 0x7FFFFFFF), axis=1)
        here = down[:, None] == slots[None, :]
        mine = (slots >= top) & (slots < top + TILE)
        first = tl.where(mine, tl.sum(tl.where(here, least[:, None], 0), axis=0).to(tl.int32), first)
    rank = tl.cumsum(((first == slots) & inside).to(tl.int32), axis=0) - 1
    tl.debug_barrier()
    tl.store(labels + slots, rank.to(tl.int64), mask=inside)
    tl.debug_barrier()
    number_of_first = tl.load(labels + first, mask=inside, other=0)
    tl.debug_barrier()
    tl.store(labels + slots, number_of_first, mask=inside)

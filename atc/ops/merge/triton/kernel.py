"""The kernels of a merge; `atc.ops.merge.triton.launch` launches them. ``README.md`` says why their sums never vary."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton gives the parameters of a kernel their types when it compiles it.

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["tokens", "groups"])
def list_members(labels, lists, tokens, groups, TILE: tl.constexpr):
    """List the tokens of each group in ascending order, one image a program, in O(N + K) steps of one tile.

    ``lists`` holds for each image: N tokens by group, N ranks within the group, K begins of groups, K ends.
    """
    image = tl.program_id(0).to(tl.int64)
    labels += image * tokens
    order = lists + image * (2 * tokens + 2 * groups)
    ranks = order + tokens
    begin = ranks + tokens
    end = begin + groups
    lane = tl.arange(0, TILE)
    for top in range(0, groups, TILE):
        tl.store(end + top + lane, tl.zeros([TILE], tl.int32), mask=top + lane < groups)
    tl.debug_barrier()
    # A token's rank: how many of its group are in earlier tiles, and how many before it in its own.
    for top in range(0, tokens, TILE):
        at = top + lane
        label = tl.load(labels + at, mask=at < tokens, other=-1)
        tl.device_assert((label >= -1) & (label < groups), "labels must lie in [-1, num_groups)")
        member = (label >= 0) & (label < groups)
        group = tl.where(member, label, 0).to(tl.int32)
        known = tl.where(member, group, -1)
        same = (known[:, None] == known[None, :]) & member[:, None]
        before = tl.sum((same & (lane[None, :] < lane[:, None])).to(tl.int32), axis=1)
        after = tl.sum((same & (lane[None, :] > lane[:, None])).to(tl.int32), axis=1)
        rank = tl.load(end + group, mask=member, other=0) + before
        tl.store(ranks + at, rank, mask=at < tokens)
        tl.debug_barrier()  # every thread has read the counts before they grow
        tl.store(end + group, rank + 1, mask=member & (after == 0))
        tl.debug_barrier()
    # Counts become begins and ends.
    earlier = tl.full([], 0, tl.int32)
    for top in range(0, groups, TILE):
        at = top + lane
        count = tl.load(end + at, mask=at < groups, other=0)
        tl.debug_barrier()  # several threads may hold the same count
        ends = tl.cumsum(count, axis=0) + earlier
        tl.store(begin + at, ends - count, mask=at < groups)
        tl.store(end + at, ends, mask=at < groups)
        earlier += tl.sum(count, axis=0)
    tl.debug_barrier()
    for top in range(0, tokens, TILE):
        at = top + lane
        label = tl.load(labels + at, mask=at < tokens, other=-1)
        member = (label >= 0) & (label < groups)
        place = tl.load(begin + label, mask=member, other=0) + tl.load(ranks + at, mask=at < tokens, other=0)
        tl.store(order + place, at, mask=member)


@triton.jit(do_not_specialize=["tokens", "groups", "prefix", "tiles"])  # their values make no other kernel
def merge_rows(
    x,
    x_image,
    x_token,
    lists,
    weight,
    size,
    out,
    sums_of_sizes,
    totals,
    tokens,
    groups,
    prefix,
    tiles,
    channels,
    WEIGHTED: tl.constexpr,
    SIZED: tl.constexpr,
    AVERAGE: tl.constexpr,
    EMPTY: tl.constexpr,
    EPS: tl.constexpr,
    SUM: tl.constexpr,
    WIDE: tl.constexpr,
    SIZE_SUM: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
    SHORT: tl.constexpr,
    LONG: tl.constexpr,
):
    """Write some rows of the merged sequence: prefix rows are groups of one token each."""
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    top = (program % tiles) * ROWS
    lane = tl.arange(0, ROWS)
    row = top + lane
    group = row - prefix
    is_prefix = row < prefix
    is_group = (group >= 0) & (group < groups)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channel < channels

    x += image * x_image
    order = lists + image * (2 * tokens + 2 * groups)
    begin = order + 2 * tokens
    end = begin + groups
    weight += image * tokens
    size += image * tokens
    first = tl.load(begin + group, mask=is_group, other=0)
    count = tl.where(is_prefix, 1, tl.load(end + group, mask=is_group, other=0) - first)
    longest = tl.max(count, axis=0)

    values = tl.zeros([ROWS, CHANNELS], SUM)
    total = tl.zeros([ROWS], SUM)
    sizes = tl.zeros([ROWS], SIZE_SUM)
    # Most groups are short: member by member, of all rows at once, as a CPU adds them.
    for member in range(0, tl.minimum(longest, SHORT)):
        has = (member < count) & is_group
        token = tl.load(order + first + member, mask=has, other=0)
        place = tl.where(is_prefix, row, token + prefix)
        live = has | (is_prefix & (member == 0))
        at = x + place[:, None].to(tl.int64) * x_token + channel[None, :]
        given = tl.load(at, mask=live[:, None] & inside[None, :], other=0).to(SUM)
        if WEIGHTED:
            factor = tl.where(is_prefix, 1, tl.load(weight + token, mask=has, other=0).to(SUM))
            given = given * factor[:, None]
            total += factor
        else:
            total += has.to(SUM)
        values += given
        if SIZED:
            sizes += tl.load(size + token, mask=has, other=0).to(SIZE_SUM)
    # What long groups have left: chunk by chunk, each chunk at once, one row after the other.
    if longest > SHORT:
        chunk = tl.arange(0, LONG)
        for here in range(0, ROWS):
            own = top + here - prefix
            there = (own >= 0) & (own < groups)
            start = tl.load(begin + own, mask=there, other=0) + SHORT
            stop = tl.load(end + own, mask=there, other=0)
            mine = lane == here
            for of_chunk in range(start, stop, LONG):
                has = of_chunk + chunk < stop
                token = tl.load(order + of_chunk + chunk, mask=has, other=0)
                at = x + (token[:, None] + prefix).to(tl.int64) * x_token + channel[None, :]
                given = tl.load(at, mask=has[:, None] & inside[None, :], other=0).to(SUM)
                if WEIGHTED:
                    factor = tl.load(weight + token, mask=has, other=0).to(SUM)
                    given = given * factor[:, None]
                    total = tl.where(mine, total + tl.sum(factor, axis=0), total)
                else:
                    total = tl.where(mine, total + tl.sum(has.to(SUM), axis=0), total)
                values = tl.where(mine[:, None], values + tl.sum(given, axis=0)[None, :], values)
                if SIZED:
                    more = tl.load(size + token, mask=has, other=0).to(SIZE_SUM)
                    sizes = tl.where(mine, sizes + tl.sum(more, axis=0), sizes)

    if AVERAGE:
        total += tl.full([ROWS], EPS, SUM)
        divisor = tl.where(is_prefix, 1, total)
        if EMPTY:
            divisor = tl.where(divisor == 0, 1, divisor)
        wide = divisor[:, None] + tl.zeros_like(values)
        if WIDE:
            values = values / wide
        else:
            values = tl.div_rn(values, wide)
    written = is_prefix | is_group
    target = out + (image * (prefix + groups) + row[:, None]) * channels + channel[None, :]
    tl.store(target, values.to(out.dtype.element_ty), mask=written[:, None] & inside[None, :])
    if tl.program_id(1) == 0:
        if SIZED:
            of_size = sums_of_sizes + image * groups + group
            tl.store(of_size, sizes.to(sums_of_sizes.dtype.element_ty), mask=is_group)
        if AVERAGE:
            tl.store(totals + image * groups + group, total, mask=is_group)

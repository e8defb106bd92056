// Nearest neighbours in device memory: a row is read from its last neighbour on.
//
// No key of a row falls: what is joined is never nearer than both it came from (where rounding could break this,
// closest.h sees to it). So the last neighbour's key bounds the row, slots before it lie beyond this key, and the first
// slot found at it is the nearest again. Tokens that are all equally near cost a step a row, not the row.
#pragma once

// What a thread has found of a row, and the best of several threads.
template <class Rounds> struct Nearest {
    typedef typename Rounds::Key Key;
    Key key;
    u32 slot;

    ATC_DEVICE void offer(Key other, u32 at) {
        if (other < key || (other == key && at < slot)) key = other, slot = at;
    }
};

// MANY cells a thread, loaded before the first of them is looked at; `at` counts from `begin`, round to its start.
template <int MANY, class Rounds>
ATC_DEVICE void offer_cells(const Rounds& r, int x, int begin, int at, int step, Nearest<Rounds>& best) {
    typedef typename Rounds::Linkage L;
    const u32 members = r.size[x];
    const typename Rounds::Cell* const row = r.space.row(x);
    typename Rounds::Cell cell[MANY];
    u32 others[MANY];
    for (int i = 0; i < MANY; i++) {
        const int q = at + i * step, c = q < r.tokens - begin ? begin + q : begin + q - r.tokens;
        const bool there = q < r.tokens && c != x;
        others[i] = there ? r.size[c] : 0;
        cell[i] = there ? row[c] : typename Rounds::Cell(0);
    }
    for (int i = 0; i < MANY; i++) {
        const int q = at + i * step, c = q < r.tokens - begin ? begin + q : begin + q - r.tokens;
        if (others[i]) best.offer(L::key(cell[i], int(members * others[i])), u32(c));
    }
}

// By one warp.
template <class Rounds> ATC_DEVICE void scan_row(Rounds& r, int x) {
    enum { MANY = sizeof(typename Rounds::Cell) == 8 ? 4 : 8 };
    const int lanes = r.thread.LANES;
    const typename Rounds::Key bound = read_by_warp(r.thread, &r.nearest[x]);
    const int begin = int(read_by_warp(r.thread, &r.neighbour[x])) / lanes * lanes;
    Nearest<Rounds> best = {Rounds::none(), u32(x)};
    int at = 0;
    while (at < r.tokens) {
        offer_cells<MANY>(r, x, begin, at + r.thread.lane, lanes, best);
        at += MANY * lanes;
        if (r.thread.ballot(best.key == bound)) break;
    }
    const typename Rounds::Key key = least_of_warp(r.thread, best.key);
    const u32 slot = r.thread.least(best.key == key ? best.slot : ~0u);
    if (r.thread.lane == 0) {
        r.nearest[x] = key;
        r.neighbour[x] = slot;
        if (r.job.counters) r.thread.atomic_add(r.space.scanned, u64(at < r.tokens ? at : r.tokens));
    }
}

// By a thread block, for the rounds that have few rows.
template <class Rounds> ATC_DEVICE void scan_row_by_block(Rounds& r, int x) {
    Nearest<Rounds> best = {Rounds::none(), u32(x)};
    for (int at = r.thread.of_block; at < r.tokens; at += 4 * r.thread.block_threads)
        offer_cells<4>(r, x, 0, at, r.thread.block_threads, best);
    const typename Rounds::Key key = r.thread.least_of_block(best.key);
    const u32 slot = r.thread.least_of_block(best.key == key ? best.slot : ~0u);
    if (r.thread.of_block == 0) {
        r.nearest[x] = key;
        r.neighbour[x] = slot;
        if (r.job.counters) r.thread.atomic_add(r.space.scanned, u64(r.tokens));
    }
}

template <class Rounds> ATC_DEVICE void scan_stale(Rounds& r, int rows) {
    if (rows >= r.thread.warps / 4)
        for (int i = r.thread.warp; i < rows; i += r.thread.warps) scan_row(r, int(r.stale[i]));
    else
        for (int i = r.thread.block; i < rows; i += r.thread.blocks) scan_row_by_block(r, int(r.stale[i]));
}

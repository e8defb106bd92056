// Device memory of one image, and what all algorithms in it share: the cells, and how they are read.
#pragma once
#include "cells.h"
#include "job.h"

// `grid_bytes` in memory.py adds it up.
template <class L> struct Space {
    typedef typename L::Cell Cell;
    typedef typename L::Key Key;
    enum { KEYS = 3, NUMBERS = 12, WORDS = 16 };
    // Places in `word`. The first three take two, for one round and the next.
    enum { PAIRS = 0, STALE = 2, EXTRAS = 4, CUT = 6, NEXT, LOWEST, BELOW, CLIQUES, TAKEN, GONE, LAST };

    const int tokens;
    Cell* const cells;  // [N, N], symmetric; the diagonal is not used
    Key* const keys;    // [KEYS, N]
    u64* const scanned; // cells read after the input
    u32* const word;    // [WORDS]
    u32* const numbers; // [NUMBERS, N]

    ATC_DEVICE Space(unsigned char* memory, int tokens)
        : tokens(tokens), cells((Cell*)memory),
          keys((Key*)(memory + (sizeof(Cell) * tokens * tokens + 15) / 16 * 16)),
          scanned((u64*)((unsigned char*)keys + (sizeof(Key) * KEYS * tokens + 7) / 8 * 8)), word((u32*)(scanned + 1)),
          numbers(word + WORDS) {}

    ATC_DEVICE Cell* row(int slot) const { return cells + i64(slot) * tokens; }
    ATC_DEVICE Key* key_array(int which) const { return keys + i64(which) * tokens; }
    ATC_DEVICE u32* array(int which) const { return numbers + i64(which) * tokens; }
};

// Between two waits: the words before anything is counted.
template <class L, class Thread> ATC_DEVICE void clear_words(const Space<L>& space, const Thread& thread) {
    typedef Space<L> S;
    if (thread.index != 0) return;
    for (int w = 0; w < S::WORDS; w++) space.word[w] = 0;
    space.word[S::LOWEST] = space.word[S::BELOW] = Spread::NOTHING;
    *space.scanned = 0;
}

// The input, read once; the words have been cleared.
template <class L, class Thread>
ATC_DEVICE void load_cells(const Space<L>& space, const Thread& thread, const Job& job, i64 image) {
    typedef Space<L> S;
    typedef typename L::Input Input;
    const Input* const given = (const Input*)job.distance + image * job.image_stride;
    Spread spread;
    for (int x = thread.warp; x < space.tokens; x += thread.warps) {
        const Input* const from = given + x * job.row_stride;
        for (int c = x + 1 + thread.lane; c < space.tokens; c += Thread::LANES) {
            const Input value = from[c * job.column_stride];
            if (L::METHOD == AVERAGE) spread.add(value);
            space.row(x)[c] = space.row(c)[x] = L::cell(value);
        }
    }
    if (L::METHOD == AVERAGE) {
        const u32 lowest = thread.least(spread.lowest), below = thread.least(spread.below);
        if (thread.lane == 0) {
            thread.atomic_min(&space.word[S::LOWEST], lowest);
            thread.atomic_min(&space.word[S::BELOW], below);
        }
    }
}

// Average linkage: whether no order of adding can change a sum of this image.
template <class L> ATC_DEVICE bool exact_sums(const Space<L>& space) {
    Spread spread;
    spread.lowest = space.word[Space<L>::LOWEST];
    spread.below = space.word[Space<L>::BELOW];
    return spread.exact(space.tokens);
}

template <class Thread> ATC_DEVICE u64 least_of_warp(const Thread& thread, u64 key) {
    const u32 high = thread.least(u32(key >> 32));
    return u64(high) << 32 | thread.least(u32(key >> 32) == high ? u32(key) : ~0u);
}
template <class Thread> ATC_DEVICE u32 least_of_warp(const Thread& thread, u32 key) { return thread.least(key); }

// What lane 0 reads, for all lanes of its warp: of a place that lane 0 writes later in the same phase.
template <class Thread> ATC_DEVICE u32 read_by_warp(const Thread& thread, const u32* from) {
    return thread.of_first_lane(thread.lane == 0 ? *from : 0);
}
template <class Thread> ATC_DEVICE u64 read_by_warp(const Thread& thread, const u64* from) {
    const u64 mine = thread.lane == 0 ? *from : 0;
    return u64(thread.of_first_lane(u32(mine >> 32))) << 32 | thread.of_first_lane(u32(mine));
}

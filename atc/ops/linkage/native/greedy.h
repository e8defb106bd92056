// The greedy algorithm with lazy columns and lazy rescans.
//
// A merge changes one column of every other row. Writing them all would touch one cache line each; instead merges
// are logged, and a row replays the log when it is next needed. Likewise the stored nearest key of a row is only a
// lower bound: it is made true when the row comes first and its neighbour has died or changed since. This is exact
// for any linkage as long as bounds hold; `Rows::join` lowers those that a merge undercuts.
#pragma once

#include "queue.h"

namespace ATC_ISA {

struct Merge {
    int32_t low, high;  // the slot that disappears, the larger slot that stays
};

struct Counters {
    int64_t merges, rescans, cells, replayed;
};

template <class Key> struct State {
    int tokens;
    Queue<Key> nearest;  // lower bound of each row's smallest key; `last` when dead
    int32_t* neighbour;  // [tokens] slot the bound was seen at
    int32_t* seen;       // [tokens] merges the row takes account of
    int32_t* born;       // [tokens] merges after which the cluster exists; INT32_MAX when dead
    Merge* log;          // [tokens]
    double* heights;     // [tokens]
};

template <class Rows> Counters merge_greedily(Rows& rows, State<typename Rows::Key>& state, int keep) {
    using Key = typename Rows::Key;
    Counters counters{};
    int merged = 0, needed = state.tokens - keep;
    for (int k = 0; k < state.tokens; k++) state.seen[k] = state.born[k] = 0;
    auto replay = [&](int slot) {
        counters.replayed += merged - state.seen[slot];
        rows.replay(slot, state, state.seen[slot], merged);
        state.seen[slot] = merged;
    };
    auto bound = [&](int slot, Key key) {
        state.nearest.set(slot, key);
        rows.bounded(slot, key);
    };
    while (merged < needed) {
        int first = state.nearest.first();
        int second = state.neighbour[first];
        if (state.born[second] > state.seen[first]) {
            replay(first);
            Nearest<Key> found = rows.scan(first);
            bound(first, found.key);
            state.neighbour[first] = found.slot;
            counters.rescans++;
            continue;
        }
        int low = first < second ? first : second, high = first < second ? second : first;
        replay(low);
        replay(high);
        state.heights[merged] = height_of(state.nearest.key[first]);
        state.log[merged] = {low, high};
        bound(low, Lanes<Key>::last);
        Nearest<Key> found = rows.join(low, high, merged, state);
        bound(high, found.key);
        state.neighbour[high] = found.slot;
        merged++;
        state.seen[high] = state.born[high] = merged;
        state.born[low] = INT32_MAX;
    }
    counters.merges = merged;
    counters.cells = (int64_t)state.tokens * (2 * merged + counters.rescans);
    return counters;
}

}  // namespace ATC_ISA

// The greedy algorithm with lazy columns and lazy rescans: ../README.md, "Why the results are exact", 2.
//
// A merge changes one column of every other row. Writing them all would touch one cache line each; instead merges
// are logged, and the log is replayed on a row when the row is next read. `Rows::join` lowers the bounds that a merge
// undercuts.
#pragma once

#include <cmath>

#include "prefetch.h"
#include "queue.h"

namespace ATC_ISA {

struct Merge {
    int32_t low, high;  // the slot that disappears, the larger slot that stays
};

// Rows replay the log in steps: a loop of which the length is hard to predict is left once, not entered for each.
constexpr int replay_step = 4;

struct Counters {
    int64_t merges, rescans, cells, replayed, doubts, restarts;
};

template <class Key> struct State {
    int tokens;
    Queue<Key> nearest;  // lower bound of each row's smallest key; `last` when dead
    int32_t* neighbour;  // [tokens] slot the bound was seen at
    int32_t* seen;       // [tokens] merges the row takes account of
    int32_t* born;       // [tokens] merges after which the cluster exists; INT32_MAX when dead
    Merge* log;          // [tokens + replay_step] followed by merges of what is no token with itself
    double* heights;     // [tokens]
    double limit;        // see AtcJob, as the next
    int64_t forced;
    Ahead ahead;         // what is read meanwhile
};

template <class Rows, class Key>
inline void set_bound(Rows& rows, State<Key>& state, int slot, Nearest<Key> nearest) {
    state.nearest.set(slot, nearest.key);
    state.neighbour[slot] = nearest.slot;
    rows.bounded(slot, nearest.key);
}
// Where rounding puts a merged distance below both that it came from, it may undercut the bound of a row.
template <class Rows, class Key>
inline void lower_bound(Rows& rows, State<Key>& state, int slot, Nearest<Key> candidate) {
    Key bound = state.nearest.key[slot];
    if (candidate.key < bound || (candidate.key == bound && candidate.slot < state.neighbour[slot]))
        set_bound(rows, state, slot, candidate);
}

template <class Rows> struct Greedy {
    using Key = typename Rows::Key;

    Rows& rows;
    State<Key>& state;
    int merged = 0;
    Counters counters{};

    Greedy(Rows& rows, State<Key>& state) : rows(rows), state(state) {
        for (int k = 0; k < state.tokens; k++) state.seen[k] = state.born[k] = 0;
        for (int t = 0; t < state.tokens + replay_step; t++) state.log[t] = {rows.nobody(), rows.nobody()};
    }
    inline void catch_up(int slot) {
        counters.replayed += merged - state.seen[slot];
        rows.catch_up(slot, state, state.seen[slot], merged);
        state.seen[slot] = merged;
    }
    // Whether the row's bound is its true minimum.
    inline bool fresh(int slot) { return state.born[state.neighbour[slot]] <= state.seen[slot]; }
    // Whether the next merge, of a slot with a true bound, is to be made. NaN is above every limit but infinity.
    inline bool within(int slot) const {
        return merged < state.forced || state.limit == INFINITY || height_of(state.nearest.key[slot]) <= state.limit;
    }
    inline void bound(int slot, Nearest<Key> found) { set_bound(rows, state, slot, found); }
    inline void rescan(int slot) {
        catch_up(slot);
        bound(slot, rows.scan(slot));
        counters.rescans++;
    }
    inline void merge(int first, int second) {
        int low = first < second ? first : second, high = first < second ? second : first;
        state.ahead.step();
        catch_up(low);
        catch_up(high);
        state.heights[merged] = height_of(state.nearest.key[first]);
        state.log[merged] = {low, high};
        bound(low, {Lanes<Key>::last, low});
        bound(high, rows.join(low, high, state, merged));
        merged++;
        state.seen[high] = state.born[high] = merged;
        state.born[low] = INT32_MAX;
    }
    Counters finished() {
        counters.merges = merged;
        counters.cells = (int64_t)state.tokens * (2 * merged + counters.rescans);
        return counters;
    }
};

template <class Rows> Counters merge_greedily(Rows& rows, State<typename Rows::Key>& state, int keep) {
    Greedy<Rows> greedy(rows, state);
    while (greedy.merged < state.tokens - keep) {
        int first = state.nearest.first();
        if (!greedy.fresh(first)) greedy.rescan(first);
        else if (greedy.within(first)) greedy.merge(first, state.neighbour[first]);
        else break;
    }
    return greedy.finished();
}

}  // namespace ATC_ISA

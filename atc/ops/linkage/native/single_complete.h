// Single and complete linkage on keys: ../README.md, "Why the results are exact", 1.
#pragma once

#include "greedy.h"
#include "prepare.h"

namespace ATC_ISA {

template <class KeyType, bool largest> struct Extremes {
    using Key = KeyType;
    static constexpr int W = Lanes<Key>::width;

    Square<Key>& cells;
    Key* dead;  // [padded] `last` where the slot is dead, smaller than every key where it is alive

    Extremes(Square<Key>& cells, Key* dead) : cells(cells), dead(dead) {
        for (int k = 0; k < cells.padded; k++) dead[k] = k < cells.tokens ? Lanes<Key>::first : Lanes<Key>::last;
    }
    inline void bounded(int, Key) {}
    inline int32_t nobody() const { return cells.padded; }
    inline void catch_up(int slot, const State<Key>& state, int from, int to) {
        Key* row = cells.fetched(slot);
        const Merge* log = state.log;
        for (int t = from; t < to; t += replay_step)
            for (int u = t; u < t + replay_step; u++) {
                Key a = row[log[u].low], b = row[log[u].high];
                row[log[u].high] = largest ? larger(a, b) : smaller(a, b);
            }
    }
    inline Nearest<Key> scan(int slot) {
        const Key* row = cells.row(slot);
        FirstLeast<Key> nearest;
        for (int k = 0; k < cells.padded; k += W)
            nearest.offer(larger(load<Vector<Key>>(row + k), load<Vector<Key>>(dead + k)));
        return nearest.found();
    }
    inline Nearest<Key> join(int low, int high, const State<Key>&, int) {
        Key* one = cells.row(low);
        Key* other = cells.row(high);
        dead[low] = Lanes<Key>::last;
        other[low] = one[high] = Lanes<Key>::last;  // no cluster is its own neighbour
        FirstLeast<Key> nearest;
        for (int k = 0; k < cells.padded; k += W) {
            Vector<Key> a = load<Vector<Key>>(one + k), b = load<Vector<Key>>(other + k);
            Vector<Key> both = largest ? larger(a, b) : smaller(a, b);
            store(other + k, both);
            nearest.offer(larger(both, load<Vector<Key>>(dead + k)));
        }
        return nearest.found();
    }
};

}  // namespace ATC_ISA

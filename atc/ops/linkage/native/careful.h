// Average and Ward linkage where distances are not all finite: every cell computed as the reference does.
#pragma once

#include "greedy.h"
#include "wide.h"

namespace ATC_ISA {

template <class Source, bool ward> struct Careful {
    using Key = int64_t;

    WideRows<Source> rows;
    int32_t* alive;  // [tokens]

    Careful(WideRows<Source> wide, int32_t* alive) : rows(wide), alive(alive) {
        for (int k = 0; k < rows.tokens; k++) alive[k] = 1;
    }
    inline Key key(int slot, const double* row, int k) const {
        return key_of<Key>(ward ? row[k] : row[k] / (rows.size[slot] * rows.size[k]));
    }
    inline double joined(double low, double high, int slot, double distance, int merge) const {
        return ward ? rows.grown(low, high, slot, distance, merge) : low + high;
    }
    inline void bounded(int, Key) {}
    inline void replay(int slot, const State<Key>& state, int from, int to) {
        double* row = rows.at(slot);
        const Merge* log = state.log;
        for (int t = from; t < to; t++)
            row[log[t].high] = joined(row[log[t].low], row[log[t].high], slot, state.heights[t], t);
    }
    inline Nearest<Key> scan(int slot) {
        const double* row = rows.at(slot);
        Nearest<Key> best{Lanes<Key>::last, 0};
        for (int k = 0; k < rows.tokens; k++) {
            if (!alive[k] || k == slot) continue;
            Key candidate = key(slot, row, k);
            if (candidate < best.key) best = {candidate, k};
        }
        return best;
    }
    inline Nearest<Key> join(int low, int high, int merge, State<Key>& state) {
        const double* one = rows.at(low);
        double* other = rows.at(high);
        rows.low_size[merge] = rows.size[low];
        rows.high_size[merge] = rows.size[high];
        alive[low] = 0;
        for (int k = 0; k < rows.tokens; k++) other[k] = joined(one[k], other[k], k, state.heights[merge], merge);
        rows.size[high] += rows.size[low];
        for (int k = 0; k < rows.tokens; k++) {
            if (!alive[k] || k == high) continue;
            Key candidate = key(high, other, k), bound = state.nearest.key[k];
            if (candidate < bound || (candidate == bound && high < state.neighbour[k])) {
                state.nearest.set(k, candidate);
                state.neighbour[k] = high;
            }
        }
        rows.release(low);
        return scan(high);
    }
};

}  // namespace ATC_ISA

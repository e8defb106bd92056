// Average and Ward linkage where distances are not all finite: every cell computed as the reference does.
#pragma once

#include "greedy.h"
#include "float64_rows.h"

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
    inline void bounded(int, Key) {}
    inline int32_t nobody() const { return 0; }  // its value is not read
    inline void catch_up(int slot, const State<Key>& state, int from, int to) {
        rows.catch_up(slot, state.log, state.born, from, to);
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
    inline Nearest<Key> join(int low, int high, State<Key>& state, int merge) {
        const double* one = rows.at(low);
        double* other = rows.at(high);
        double of_low = rows.size[low], of_high = rows.size[high], distance = state.heights[merge];
        alive[low] = 0;
        for (int k = 0; k < rows.tokens; k++)
            other[k] = ward ? rows.grown(of_low, of_high, rows.size[k], one[k], other[k], distance) : one[k] + other[k];
        rows.size[high] += rows.size[low];
        for (int k = 0; k < rows.tokens; k++)
            if (alive[k] && k != high) lower_bound(*this, state, k, {key(high, other, k), high});
        rows.release(low);
        return scan(high);
    }
};

}  // namespace ATC_ISA

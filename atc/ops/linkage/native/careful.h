// Ward linkage, and average linkage where distances are not all finite: every cell computed as the reference does.
#pragma once

#include "greedy.h"
#include "prepare.h"
#include "wide.h"

namespace ATC_ISA {

template <class Source, bool ward> struct Careful {
    using Key = int64_t;

    WideRows<Source> rows;
    int32_t* alive;            // [tokens]
    const Merge* log;          // [tokens] and, for each merge in it:
    const double* height;      // the distance
    double *low_size, *high_size;
    int merged = 0;

    Careful(WideRows<Source> wide, int32_t* alive, const State<Key>& state, double* low_size, double* high_size)
        : rows(wide), alive(alive), log(state.log), height(state.heights), low_size(low_size), high_size(high_size) {
        for (int k = 0; k < rows.tokens; k++) alive[k] = 1;
    }
    // Lance and Williams (1967), in the reference's order of operations.
    static inline double joined(double low, double high, double size_low, double size_high, double size, double d) {
        if (!ward) return low + high;
        double grown = (size_low + size) * low + (size_high + size) * high;
        return (grown - size * d) / (size_low + size_high + size);
    }
    inline Key key(int slot, const double* row, int k) const {
        return key_of<Key>(ward ? row[k] : row[k] / (rows.size[slot] * rows.size[k]));
    }
    inline void replay(int slot, const Merge*, int from, int to) {
        double* row = rows.at(slot);
        for (int t = from; t < to; t++) {
            int low = log[t].low, high = log[t].high;
            row[high] = joined(row[low], row[high], low_size[t], high_size[t], rows.size[slot], height[t]);
        }
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
    inline Nearest<Key> join(int low, int high, double distance, Key* nearest, Key* neighbour) {
        const double* one = rows.at(low);
        double* other = rows.at(high);
        double size_low = low_size[merged] = rows.size[low], size_high = high_size[merged] = rows.size[high];
        merged++;
        alive[low] = 0;
        for (int k = 0; k < rows.tokens; k++)
            other[k] = joined(one[k], other[k], size_low, size_high, rows.size[k], distance);
        rows.size[high] += size_low;
        for (int k = 0; k < rows.tokens; k++) {
            if (!alive[k] || k == high) continue;
            Key candidate = key(high, other, k);
            if (candidate < nearest[k] || (candidate == nearest[k] && high < neighbour[k])) {
                nearest[k] = candidate;
                neighbour[k] = high;
            }
        }
        rows.release(low);
        return scan(high);
    }
};

}  // namespace ATC_ISA

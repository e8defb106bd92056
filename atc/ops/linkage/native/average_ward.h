// Average and Ward linkage of finite distances, in float64: ../README.md, "Why the results are exact", 3.
//
// Average: cells are sums over all pairs of members. Ward: cells are distances, by the recurrence of Lance and Williams
// (1967).
#pragma once

#include "greedy.h"
#include "float64_rows.h"

namespace ATC_ISA {

template <class Source, bool ward> struct Sums {
    using Key = double;
    static constexpr double slack = 0x1p-50, underflow = 1e-290;

    WideRows<Source> rows;
    double* inverse;  // [padded] 1 / size
    double* gone;     // [padded] infinity where the slot is dead, else 0
    double* limit;    // [padded] what an approximate distance must reach to undercut a row's bound
    double* summary;  // [padded / 4] the smallest in each lane of every four vectors

    Sums(WideRows<Source> wide, double* inverse, double* gone, double* limit, double* summary, const double* nearest)
        : rows(wide), inverse(inverse), gone(gone), limit(limit), summary(summary) {
        for (int k = 0; k < rows.padded; k++) {
            inverse[k] = 1;
            gone[k] = k < rows.tokens ? 0 : __builtin_inf();
            bounded(k, nearest[k]);
        }
    }
    static inline double above(double value) { return value + ((value < 0 ? -value : value) * slack + underflow); }
    inline void bounded(int slot, double key) { limit[slot] = above(key); }
    inline int32_t nobody() const { return 0; }  // its value is not read
    inline void catch_up(int slot, const State<Key>& state, int from, int to) {
        rows.catch_up(slot, state.log, state.born, from, to);
    }
    inline Nearest<Key> scan(int slot) {
        const double* row = rows.at(slot);
        for (int k = 0; k < rows.padded; k += 16) {
            Double4 smallest = rough(load<Double4>(row + k), k);
            for (int v = 4; v < 16; v += 4) smallest = smaller(rough(load<Double4>(row + k + v), k + v), smallest);
            store(summary + k / 4, smallest);
        }
        return exact(slot, row);
    }
    inline Nearest<Key> join(int low, int high, State<Key>& state, int merge) {
        const double* one = rows.at(low);
        double* other = rows.at(high);
        double size_low = rows.size[low], size_high = rows.size[high];
        gone[low] = __builtin_inf();
        inverse[high] = 1 / (size_low + size_high);
        Double4 scale = Double4{} + (ward ? 1 : inverse[high]);
        double distance = state.heights[merge];
        Int4 undercut{};
        for (int k = 0; k < rows.padded; k += 16) {
            Double4 smallest = Double4{} + Lanes<Key>::last;
            for (int v = k; v < k + 16; v += 4) {
                Double4 a = load<Double4>(one + v), b = load<Double4>(other + v), cell = a + b;
                if (ward) {
                    Double4 zero{}, size = load<Double4>(rows.size + v);
                    cell = rows.grown(zero + size_low, zero + size_high, size, a, b, zero + distance);
                }
                store(other + v, cell);
                Double4 approximate = rough(cell, v);
                smallest = smaller(approximate, smallest);
                // Rounding may put a merged distance below both that it came from, unless sums are exact.
                // Less, not less or equal: the limit of a dead slot is infinite.
                undercut |= approximate * scale < load<Double4>(limit + v);
            }
            store(summary + k / 4, smallest);
        }
        rows.size[high] += size_low;
        rows.release(low);
        if (bits(undercut)) lower_bounds(high, other, state);
        return exact(high, other);
    }

  private:
    inline Double4 rough(Double4 cell, int k) const {
        Double4 far = load<Double4>(gone + k);
        return ward ? cell + far : cell * load<Double4>(inverse + k) + far;
    }
    inline double distance(int slot, const double* row, int k) const {
        return ward ? row[k] : row[k] / (rows.size[slot] * rows.size[k]);
    }
    // The first nearest of `slot`, by true distance among the cells that can be it.
    inline Nearest<Key> exact(int slot, const double* row) const {
        Least<Key> all;
        for (int k = 0; k < rows.padded; k += 16) all.offer(load<Double4>(summary + k / 4));
        double least = all.key();
        Double4 near_enough = Double4{} + above(least);
        Nearest<Key> best{Lanes<Key>::last, 0};
        for (int k = 0; k < rows.padded; k += 16) {
            if (!bits(load<Double4>(summary + k / 4) <= near_enough)) continue;
            unsigned near = 0;
            for (int v = 0; v < 16; v += 4)
                near |= bits(rough(load<Double4>(row + k + v), k + v) <= near_enough) << v;
            for (; near; near &= near - 1) {
                int at = k + __builtin_ctz(near);
                double candidate = distance(slot, row, at);
                if (candidate < best.key) best = {candidate, at};
            }
        }
        return best;
    }
    void lower_bounds(int high, const double* row, State<Key>& state) {
        for (int k = 0; k < rows.tokens; k++)
            if (k != high && gone[k] == 0) lower_bound(*this, state, k, {distance(high, row, k), high});
    }
};

}  // namespace ATC_ISA

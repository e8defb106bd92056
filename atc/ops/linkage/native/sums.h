// Average linkage by float64 sums over all pairs of members, for finite distances.
//
// The sums of float32 cosine distances, multiples of 2**-24, are exact. A distance is sum / (size * size), one
// correctly rounded division. Dividing every cell would be slow: cells are compared by sum * (1 / size) first, which
// is within four roundings of the truth, and only those that may be the smallest are divided.
#pragma once

#include <cmath>

#include "greedy.h"
#include "prepare.h"
#include "wide.h"

namespace ATC_ISA {

template <class Source> struct Sums {
    using Key = int64_t;
    static constexpr double slack = 0x1p-50, underflow = 1e-290;

    WideRows<Source> rows;
    double* inverse;  // [padded] 1 / size
    double* gone;     // [padded] infinity where the slot is dead, else 0

    Sums(WideRows<Source> wide, double* inverse, double* gone) : rows(wide), inverse(inverse), gone(gone) {
        for (int k = 0; k < rows.padded; k++) {
            inverse[k] = 1;
            gone[k] = k < rows.tokens ? 0 : INFINITY;
        }
    }
    inline void replay(int slot, const Merge* log, int from, int to) {
        double* row = rows.at(slot);
        for (int t = from; t < to; t++) row[log[t].high] += row[log[t].low];
    }
    inline Nearest<Key> scan(int slot) {
        const double* row = rows.at(slot);
        Double4 least = Double4{} + INFINITY;
        for (int k = 0; k < rows.padded; k += 4) least = smaller(least, rough(load<Double4>(row + k), k));
        return exact(slot, row, least);
    }
    inline Nearest<Key> join(int low, int high, double, Key* nearest, Key* neighbour) {
        const double* one = rows.at(low);
        double* other = rows.at(high);
        gone[low] = INFINITY;
        rows.size[high] += rows.size[low];
        inverse[high] = 1 / rows.size[high];
        Double4 least = Double4{} + INFINITY;
        Double4 scale = Double4{} + inverse[high];
        Int4 undercut{};
        for (int k = 0; k < rows.padded; k += 4) {
            Double4 sum = load<Double4>(one + k) + load<Double4>(other + k);
            store(other + k, sum);
            Double4 approximate = rough(sum, k);
            least = smaller(least, approximate);
            // Rounding may put a merged distance below both it came from, unless sums are exact.
            Double4 bound = values_of(load<Int4>(nearest + k));
            Double4 margin = (bound < 0 ? -bound : bound) * slack + underflow;
            undercut |= approximate * scale <= bound + margin;
        }
        rows.release(low);
        if (undercut[0] | undercut[1] | undercut[2] | undercut[3]) lower_bounds(high, other, nearest, neighbour);
        return exact(high, other, least);
    }

  private:
    inline Double4 rough(Double4 sum, int k) const {
        return sum * load<Double4>(inverse + k) + load<Double4>(gone + k);
    }
    // The first nearest of `slot`, by true division among the cells that can be it.
    inline Nearest<Key> exact(int slot, const double* row, Double4 lanes) const {
        double least = lanes[0];
        for (int lane = 1; lane < 4; lane++) least = lanes[lane] < least ? lanes[lane] : least;
        Double4 limit = Double4{} + (least + (fabs(least) * slack + underflow));
        double best = INFINITY;
        int at = 0;
        for (int k = 0; k < rows.padded; k += 4) {
            Int4 near = rough(load<Double4>(row + k), k) <= limit;
            if (!(near[0] | near[1] | near[2] | near[3])) continue;
            for (int lane = 0; lane < 4; lane++) {
                if (!near[lane]) continue;
                double distance = row[k + lane] / (rows.size[slot] * rows.size[k + lane]);
                if (distance < best) {
                    best = distance;
                    at = k + lane;
                }
            }
        }
        return {key_of<Key>(best), at};
    }
    void lower_bounds(int high, const double* row, Key* nearest, Key* neighbour) const {
        for (int k = 0; k < rows.tokens; k++) {
            if (k == high || gone[k] != 0) continue;
            Key key = key_of<Key>(row[k] / (rows.size[high] * rows.size[k]));
            if (key < nearest[k] || (key == nearest[k] && high < neighbour[k])) {
                nearest[k] = key;
                neighbour[k] = high;
            }
        }
    }
};

}  // namespace ATC_ISA

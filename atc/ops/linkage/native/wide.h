// Rows of float64, made from the keys of a row when it is first touched, and reused when a cluster disappears.
#pragma once

#include "prepare.h"

namespace ATC_ISA {

template <class Source> struct WideRows {
    const Square<Source>& square;
    int tokens, padded;   // padded to four vectors of float64
    double* pool;         // [tokens, padded]; the part not reached is never touched
    double** row;         // [tokens] null until touched
    double** spare;       // [tokens] stack of rows free for reuse
    double* size;         // [padded] members of each cluster
    double* low_size;     // [tokens] and, for each merge, of the two that were joined
    double* high_size;    // [tokens]
    int spares = 0;
    int used = 0;

    static int padded_for(int tokens) { return (tokens + 15) / 16 * 16; }

    void reset() {
        for (int k = 0; k < tokens; k++) row[k] = nullptr;
        for (int k = 0; k < padded; k++) size[k] = 1;
        spares = used = 0;
    }
    inline double* at(int slot) { return row[slot] ? row[slot] : made(slot); }
    inline void release(int slot) { spare[spares++] = row[slot]; }

    // Lance and Williams (1967) for Ward, in the reference's order of operations: cell `slot` after `merge`.
    inline double grown(double low, double high, int slot, double distance, int merge) const {
        double of_low = low_size[merge], of_high = high_size[merge], own = size[slot];
        return ((of_low + own) * low + (of_high + own) * high - own * distance) / (of_low + of_high + own);
    }

  private:
    double* made(int slot) {
        double* wide = row[slot] = spares ? spare[--spares] : pool + (int64_t)padded * used++;
        const Source* keys = square.row(slot);
        for (int k = 0; k < square.padded; k += Lanes<Source>::width) widen(keys + k, wide + k);
        // What is no pair must be far, not NaN.
        for (int k = tokens; k < padded; k++) wide[k] = __builtin_inf();
        wide[slot] = __builtin_inf();
        return wide;
    }
};

}  // namespace ATC_ISA

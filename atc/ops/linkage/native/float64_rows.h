// Rows of float64, made from the keys of a row when it is first touched, and reused when a cluster disappears.
#pragma once

#include "greedy.h"
#include "prepare.h"

namespace ATC_ISA {

template <class Source> struct WideRows {
    const Square<Source>& square;
    int tokens, padded;   // padded to four vectors of float64
    double* pool;         // [tokens, padded]; the part not reached is never touched
    double** row;         // [tokens] null until touched
    double** spare;       // [tokens] stack of rows free for reuse
    double* size;         // [padded] members of each cluster
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

    // What a row copies from the clusters made since that are still as they were made.
    inline void catch_up(int slot, const Merge* log, const int32_t* born, int from, int to) {
        double* wide = at(slot);
        for (int t = from; t < to; t++)
            if (born[log[t].high] == t + 1) wide[log[t].high] = row[log[t].high][slot];
    }
    // Lance and Williams (1967) for Ward: the distance of a cluster of `own` members to the merged one.
    template <class T> static inline T grown(T of_low, T of_high, T own, T low, T high, T distance) {
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

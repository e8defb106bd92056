// Rows of float64, made from the keys of a row when it is first touched, and reused when a cluster disappears.
#pragma once

#include "prepare.h"

namespace ATC_ISA {

template <class Source> struct WideRows {
    const Square<Source>& square;
    int tokens, padded;  // padded to whole vectors of float64
    double* pool;        // [tokens, padded]; the part not reached is never touched
    double** row;        // [tokens] null until touched
    double** spare;      // [tokens] stack of rows free for reuse
    double* size;        // [padded] members of each cluster
    int spares = 0;
    int used = 0;

    WideRows(const Square<Source>& square, double* pool, double** row, double** spare, double* size)
        : square(square), tokens(square.tokens), padded((tokens + 3) / 4 * 4), pool(pool), row(row), spare(spare),
          size(size) {
        for (int k = 0; k < tokens; k++) row[k] = nullptr;
        for (int k = 0; k < padded; k++) size[k] = 1;
    }
    inline double* at(int slot) {
        if (!row[slot]) {
            row[slot] = spares ? spare[--spares] : pool + (int64_t)padded * used++;
            const Source* keys = square.row(slot);
            for (int k = 0; k < padded; k++) row[slot][k] = (double)value_of(keys[k]);
            // The diagonal and the padding hold the key of no value: make them far rather than NaN.
            row[slot][slot] = __builtin_inf();
            for (int k = tokens; k < padded; k++) row[slot][k] = __builtin_inf();
        }
        return row[slot];
    }
    inline void release(int slot) { spare[spares++] = row[slot]; }
};

}  // namespace ATC_ISA

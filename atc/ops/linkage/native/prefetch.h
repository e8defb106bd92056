// Prefetches the next image's distances while this one is clustered, which is bound by arithmetic.
#pragma once

#include "keys.h"

namespace ATC_ISA {

// Rows above the diagonal, some at a time. Nothing to do for a null image.
struct Ahead {
    const char* image = nullptr;
    int64_t row_bytes = 0;  // from row to row
    int tokens = 0, cell = 0, at_once = 0, row = 0;

    Ahead() = default;
    template <class Value>
    Ahead(const Value* image, int64_t stride, int64_t tokens, int64_t steps)
        : image((const char*)image), row_bytes(stride * (int64_t)sizeof(Value)), tokens((int)tokens),
          cell((int)sizeof(Value)), at_once((int)((tokens + steps - 1) / (steps > 0 ? steps : 1))) {}

    inline void step() {
        if (!image) return;
        for (int end = row + at_once < tokens ? row + at_once : tokens; row < end; row++)
            for (const char *from = image + row * row_bytes, *to = from + (int64_t)tokens * cell,
                            *at = from + (int64_t)row * cell;
                 at < to; at += 64)
                __builtin_prefetch(at, 0, 2);
    }
};

}  // namespace ATC_ISA

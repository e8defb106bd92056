// The arguments of a call from Python that merges tokens.
#pragma once

#include <cstdint>

extern "C" {

struct AtcMerge {
    const void* x;         // [images, prefix + tokens, channels], unit stride in the last dimension
    int64_t image_stride;  // in elements
    int64_t row_stride;    // in elements
    int64_t images;
    int64_t prefix;        // tokens in front that are copied
    int64_t tokens;
    int64_t channels;
    int64_t groups;
    int32_t is_double;     // float64 rather than float32: tokens, weights, sizes
    int32_t average;       // divide by the sums of weights
    int32_t empty_groups;  // where these are zero, by 1
    int32_t reserved;
    double eps;            // added to them
    const int64_t* labels; // [images, tokens], the group of each token, or -1
    const void* weight;    // [images, tokens] or null for ones
    const void* size;      // [images, tokens] or null
    void* out;             // [images, prefix + groups, channels]
    void* sizes;           // [images, groups], written where there are sizes; or null
    void* totals;          // [images, groups], written where tokens are averaged; or null
};

}  // extern "C"

typedef void (*AtcMergeRun)(const AtcMerge&);

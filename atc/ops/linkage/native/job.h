// The arguments of a call from Python, handed to the kernel of every instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

enum AtcMethod { ATC_SINGLE = 0, ATC_COMPLETE = 1, ATC_AVERAGE = 2, ATC_WARD = 3 };
enum AtcAlgorithm { ATC_AUTOMATIC = 0, ATC_GREEDY = 1, ATC_PRIM = 2 };

struct AtcJob {
    const void* distance;   // [images, tokens, tokens], unit stride in the last dimension
    int64_t image_stride;   // in elements
    int64_t row_stride;     // in elements
    int64_t images;
    int64_t tokens;
    int64_t keep;           // 1 to tokens
    int32_t is_double;      // float64 rather than float32
    int32_t method;         // AtcMethod
    int32_t algorithm;      // AtcAlgorithm; ATC_PRIM is for single linkage, and fails where merges are asked for
    int32_t reserved;
    double limit;           // merges stop before the first of a larger height; infinite: at `keep` only
    int64_t forced;         // merges that are made whatever their height
    int64_t* labels;        // [images, tokens]
    int64_t* merges;        // [images, tokens - keep, 2] or null; those not made are of the last slot with itself
    double* heights;        // [images, tokens - keep] or null; of merges not made infinite
    int64_t* counters;      // [images, 6] as in Counters; or null
};

// Which tokens are neighbours, for clusters that merge with neighbours only.
struct AtcAmong {
    const uint8_t* neighbours;  // [images, tokens, tokens], of which the part above the diagonal counts
    int32_t once;               // a union merges no further
    int32_t reserved;
};

}  // extern "C"

// `among` is null where all clusters may merge.
typedef size_t (*AtcWorkspace)(const AtcJob&, const AtcAmong* among);
typedef void (*AtcRun)(const AtcJob&, const AtcAmong* among, void* workspace);

// The arguments of a call from Python that looks for centres of clusters.
#pragma once

#include <cstdint>

extern "C" {

enum AtcTask {
    ATC_MEDOIDS = 0,   // reads and writes centres, writes labels
    ATC_SPREAD = 1,    // reads the first of the centres, writes the others
    ATC_SMALLEST = 2,  // writes values [images, tokens, count]
    ATC_DENSER = 3,    // writes values [images, tokens]
};

struct AtcCentres {
    const void* distance;  // [images, tokens, tokens], unit stride in the last dimension; finite
    int64_t image_stride;  // in elements
    int64_t row_stride;    // in elements
    int64_t images;
    int64_t tokens;
    int64_t count;         // 1 to tokens: of centres, or of the smallest distances
    int64_t rounds;        // of ATC_MEDOIDS, 0 or more
    int32_t is_double;     // float64 rather than float32: distances, weights and values
    int32_t task;          // AtcTask
    const void* weight;    // [images, tokens], finite: of ATC_MEDOIDS weights, of ATC_DENSER densities; else null
    int64_t* centres;      // [images, count], each 0 to tokens - 1, no two of an image equal; or null
    int64_t* labels;       // [images, tokens] or null
    void* values;          // or null
    int64_t* scratch;      // [2 tokens + 1]: of ATC_MEDOIDS and ATC_SPREAD
};

}  // extern "C"

typedef void (*AtcFind)(const AtcCentres&);

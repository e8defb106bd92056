// Square tiles of a matrix, a vector a row.
#pragma once

#include "keys.h"

namespace ATC_ISA {

// A vector of which only the first `count` lanes are read, and the others are zero.
inline Float8 load_first(const float* from, int count) {
#if defined(__AVX2__)
    return (Float8)_mm256_maskload_ps(from, (__m256i)(lanes<int32_t>() < (Int8{} + count)));
#else
    Float8 v{};
    for (int lane = 0; lane < 8 && lane < count; lane++) v[lane] = from[lane];
    return v;
#endif
}
inline Double4 load_first(const double* from, int count) {
    Double4 v{};
    for (int lane = 0; lane < 4 && lane < count; lane++) v[lane] = from[lane];
    return v;
}

// Column i of tile `a` becomes row i of `t`.
template <class V> inline void transpose(const V* a, V* t) {
    constexpr int W = sizeof(V) / sizeof(a[0][0]);
#if defined(__AVX2__)
    if constexpr (W == 8) {
        __m256 pairs[8], quads[8];
        for (int i = 0; i < 8; i += 2) {
            pairs[i] = _mm256_unpacklo_ps((__m256)a[i], (__m256)a[i + 1]);
            pairs[i + 1] = _mm256_unpackhi_ps((__m256)a[i], (__m256)a[i + 1]);
        }
        for (int i = 0; i < 8; i += 4)
            for (int j = 0; j < 2; j++) {
                quads[i + 2 * j] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0x44);
                quads[i + 2 * j + 1] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0xEE);
            }
        for (int i = 0; i < 4; i++) {
            t[i] = (V)_mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
            t[i + 4] = (V)_mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
        }
        return;
    }
#endif
    for (int i = 0; i < W; i++)
        for (int j = 0; j < W; j++) t[j][i] = a[i][j];
}

}  // namespace ATC_ISA

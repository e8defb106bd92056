// Integers that sort like floats, with NaN last, in vectors of 32 bytes.
//
// Everything here is compiled once for each instruction set, in a namespace of that name; nothing comes from the
// standard library's templates, whose out-of-line copies the linker would share between the instruction sets.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef ATC_ISA
#define ATC_ISA baseline
#endif

namespace ATC_ISA {

typedef int32_t Int8 __attribute__((vector_size(32)));
typedef float Float8 __attribute__((vector_size(32)));
typedef int64_t Int4 __attribute__((vector_size(32)));
typedef double Double4 __attribute__((vector_size(32)));

// Key: the integer type as wide as the float type it orders. `last` is after every value's key.
template <class Key> struct Lanes;
template <> struct Lanes<int32_t> {
    using Float = float;
    using Ints = Int8;
    using Floats = Float8;
    static constexpr int width = 8;
    static constexpr int32_t first = INT32_MIN, last = INT32_MAX, nan = 0x7FC00000, infinite = 0x7F800000;
    static constexpr float largest = 3.402823466e38f;
};
template <> struct Lanes<int64_t> {
    using Float = double;
    using Ints = Int4;
    using Floats = Double4;
    static constexpr int width = 4;
    static constexpr int64_t first = INT64_MIN, last = INT64_MAX, nan = 0x7FF8000000000000,
                             infinite = 0x7FF0000000000000;
    static constexpr double largest = 1e250;  // far enough from infinity for sums and products of any N
};
template <> struct Lanes<double> {  // finite distances order themselves
    using Ints = Double4;
    static constexpr int width = 4;
    static constexpr double last = __builtin_inf();
};
template <class Key> using Ints = typename Lanes<Key>::Ints;
template <class Key> using Float = typename Lanes<Key>::Float;

template <class Vector, class Scalar> inline Vector load(const Scalar* from) {
    Vector v;
    memcpy(&v, from, sizeof v);
    return v;
}
template <class Vector, class Scalar> inline void store(Scalar* to, Vector v) { memcpy(to, &v, sizeof v); }

template <class Key> inline Ints<Key> spread(Key value) { return Ints<Key>{} + value; }

template <class Key> inline Key flip_negatives(Key bits) {
    return bits ^ (bits < 0 ? Lanes<Key>::last : 0);  // negative floats have larger patterns the smaller they are
}
template <class Key> inline Key key_of(Float<Key> value) {
    Key bits;
    value += 0;  // -0 equals 0 and must get its key
    memcpy(&bits, &value, sizeof bits);
    return value != value ? Lanes<Key>::nan : flip_negatives(bits);
}
template <class Key> inline Float<Key> value_of(Key key) {
    Float<Key> value;
    key = flip_negatives(key);
    memcpy(&value, &key, sizeof value);
    return value;
}
template <class Key, bool any_value> inline Ints<Key> keys_of(typename Lanes<Key>::Floats value) {
    value += 0;
    Ints<Key> bits = (Ints<Key>)value;
    bits ^= (bits >> (int)(sizeof(Key) * 8 - 1)) & Lanes<Key>::last;
    if (!any_value) return bits;
    return value != value ? spread<Key>(Lanes<Key>::nan) : bits;
}
inline double height_of(int32_t key) { return value_of(key); }
inline double height_of(int64_t key) { return value_of(key); }
inline double height_of(double key) { return key; }

// The values of one vector of keys, as float64.
inline void widen(const int32_t* keys, double* to) {
    Int8 bits = load<Int8>(keys);
    bits ^= (bits >> 31) & INT32_MAX;
#if defined(__AVX2__)
    store(to, _mm256_cvtps_pd(_mm256_castps256_ps128((__m256)bits)));
    store(to + 4, _mm256_cvtps_pd(_mm256_extractf128_ps((__m256)bits, 1)));
#else
    for (int lane = 0; lane < 8; lane++) to[lane] = ((Float8)bits)[lane];
#endif
}
inline void widen(const int64_t* keys, double* to) {
    Int4 bits = load<Int4>(keys);
    store(to, bits ^ ((bits < 0) & INT64_MAX));
}

template <class Vector> inline Vector smaller(Vector a, Vector b) { return a < b ? a : b; }
template <class Vector> inline Vector larger(Vector a, Vector b) { return a > b ? a : b; }

// One bit for each lane of a comparison, whose type compilers do not agree on.
template <class Mask> inline unsigned bits(Mask mask) {
    constexpr int lanes = sizeof(Mask) / sizeof(mask[0]);
#if defined(__AVX2__)
    return lanes == 8 ? _mm256_movemask_ps((__m256)mask) : _mm256_movemask_pd((__m256d)mask);
#else
    unsigned set = 0;
    for (int lane = 0; lane < lanes; lane++) set |= unsigned(mask[lane] & 1) << lane;
    return set;
#endif
}

inline int32_t least(Int8 v) {
#if defined(__AVX2__)
    __m128i half = _mm_min_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    half = _mm_min_epi32(half, _mm_shuffle_epi32(half, 0x4E));
    return _mm_cvtsi128_si32(_mm_min_epi32(half, _mm_shuffle_epi32(half, 0xB1)));
#else
    int32_t smallest = v[0];
    for (int lane = 1; lane < 8; lane++) smallest = v[lane] < smallest ? v[lane] : smallest;
    return smallest;
#endif
}
template <class Vector> inline auto least(Vector v) {
    auto a = v[0] < v[1] ? v[0] : v[1], b = v[2] < v[3] ? v[2] : v[3];
    return a < b ? a : b;
}

// The nearest cluster: by key, then by slot.
template <class Key> struct Nearest {
    Key key;
    int32_t slot;
};

template <class Key> inline Ints<Key> lanes() {
    Ints<Key> v;
    for (int lane = 0; lane < Lanes<Key>::width; lane++) v[lane] = lane;
    return v;
}

// A vector of which only the first `count` lanes are read, and the others are zero.
inline Float8 load_first(const float* from, int count) {
#if defined(__AVX2__)
    return (Float8)_mm256_maskload_ps(from, (__m256i)(lanes<int32_t>() < spread<int32_t>(count)));
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

// Searching for the least first, and for where it is afterwards, keeps the chain of dependent operations short.
template <class Key> struct Least {
    Ints<Key> even = Ints<Key>{} + Lanes<Key>::last, odd = even;

    inline void offer(Ints<Key> candidate) {
        Ints<Key> next = smaller(candidate, even);
        even = odd;
        odd = next;
    }
    inline Key key() const { return least(smaller(even, odd)); }
};

// The first k at which `at(k)`, a vector of keys, holds `key`; `key` must be there.
template <class Key, class At> inline int first_equal(Key key, At at) {
    Ints<Key> wanted = Ints<Key>{} + key;
    for (int k = 0;; k += Lanes<Key>::width)
        if (unsigned found = bits(at(k) == wanted)) return k + __builtin_ctz(found);
}

inline void transpose(const Int8* a, Int8* t) {
#if defined(__AVX2__)
    __m256 r[8], s[8];
    for (int i = 0; i < 8; i++) r[i] = (__m256)a[i];
    for (int i = 0; i < 8; i += 2) {
        s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm256_shuffle_ps(s[i + j], s[i + j + 2], 0x44);
            r[i + 2 * j + 1] = _mm256_shuffle_ps(s[i + j], s[i + j + 2], 0xEE);
        }
    for (int i = 0; i < 4; i++) {
        t[i] = (Int8)_mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = (Int8)_mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
#else
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) t[j][i] = a[i][j];
#endif
}
inline void transpose(const Int4* a, Int4* t) {
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) t[j][i] = a[i][j];
}

}  // namespace ATC_ISA

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
    static constexpr int32_t first = INT32_MIN, last = INT32_MAX, nan = 0x7FC00000;
    static constexpr float largest = 3.402823466e38f;
};
template <> struct Lanes<int64_t> {
    using Float = double;
    using Ints = Int4;
    using Floats = Double4;
    static constexpr int width = 4;
    static constexpr int64_t first = INT64_MIN, last = INT64_MAX, nan = 0x7FF8000000000000;
    static constexpr double largest = 1e250;  // far enough from infinity for sums and products of any N
};
template <class Key> using Ints = typename Lanes<Key>::Ints;
template <class Key> using Float = typename Lanes<Key>::Float;

template <class Vector, class Scalar> inline Vector load(const Scalar* from) {
    Vector v;
    memcpy(&v, from, sizeof v);
    return v;
}
template <class Vector, class Scalar> inline void store(Scalar* to, Vector v) { memcpy(to, &v, sizeof v); }

template <class Key> inline Ints<Key> spread(Key value) { return value - Ints<Key>{}; }

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
template <class Key> inline Ints<Key> keys_of(typename Lanes<Key>::Floats value) {
    value += 0;
    Ints<Key> bits = (Ints<Key>)value;
    bits ^= (bits < 0) & Lanes<Key>::last;
    return value != value ? spread<Key>(Lanes<Key>::nan) : bits;
}
inline Double4 values_of(Int4 key) { return (Double4)(key ^ ((key < 0) & INT64_MAX)); }

template <class Vector> inline Vector smaller(Vector a, Vector b) { return a < b ? a : b; }
template <class Vector> inline Vector larger(Vector a, Vector b) { return a > b ? a : b; }

// The nearest cluster: by key, then by slot.
template <class Key> struct Nearest {
    Key key;
    Key slot;
};

// A running nearest in each lane; slots must come in ascending order, so that the first of equals stays.
template <class Key> struct NearestLanes {
    Ints<Key> key = spread<Key>(Lanes<Key>::last);
    Ints<Key> slot = spread<Key>(0);

    inline void offer(Ints<Key> candidate, Ints<Key> at) {
        Ints<Key> closer = candidate < key;
        key = closer ? candidate : key;
        slot = closer ? at : slot;
    }
    inline Nearest<Key> reduce() const {
        Key best = key[0];
        for (int lane = 1; lane < Lanes<Key>::width; lane++) best = key[lane] < best ? key[lane] : best;
        Ints<Key> where = key == spread<Key>(best) ? slot : spread<Key>(Lanes<Key>::last);
        Key at = where[0];
        for (int lane = 1; lane < Lanes<Key>::width; lane++) at = where[lane] < at ? where[lane] : at;
        return {best, at};
    }
};

template <class Key> inline Ints<Key> ramp(Key from) {
    Ints<Key> v;
    for (int lane = 0; lane < Lanes<Key>::width; lane++) v[lane] = from + lane;
    return v;
}

// The first smallest of `count` keys; count is a multiple of the width.
template <class Key> inline Nearest<Key> first_smallest(const Key* keys, int count) {
    NearestLanes<Key> best;
    Ints<Key> slot = ramp<Key>(0);
    for (int k = 0; k < count; k += Lanes<Key>::width, slot += Lanes<Key>::width)
        best.offer(load<Ints<Key>>(keys + k), slot);
    return best.reduce();
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

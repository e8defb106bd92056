// What distances are compared by, in vectors of 32 bytes: the distances themselves where all are finite, else
// integers that sort like them, with NaN last.
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

// For each kind of key: the float it orders, its vector, a vector of as many integers, and values before and after
// every distance's. `last` also stands for what is no pair.
template <class Key> struct Lanes;
template <> struct Lanes<float> {
    using Real = float;
    using Vector = Float8;
    static constexpr bool integers = false;
    using Slots = Int8;
    static constexpr int width = 8;
    static constexpr float first = -__builtin_inff(), last = __builtin_inff();
    static constexpr float largest = 1e30f;  // far enough from infinity for sums of any N
};
template <> struct Lanes<double> {
    using Real = double;
    using Vector = Double4;
    static constexpr bool integers = false;
    using Slots = Int4;
    static constexpr int width = 4;
    static constexpr double first = -__builtin_inf(), last = __builtin_inf();
    static constexpr double largest = 1e250;
};
template <> struct Lanes<int32_t> {
    using Real = float;
    using Vector = Int8;
    static constexpr bool integers = true;
    using Slots = Int8;
    static constexpr int width = 8;
    static constexpr int32_t first = INT32_MIN, last = INT32_MAX, nan = 0x7FC00000;
};
template <> struct Lanes<int64_t> {
    using Real = double;
    using Vector = Int4;
    static constexpr bool integers = true;
    using Slots = Int4;
    static constexpr int width = 4;
    static constexpr int64_t first = INT64_MIN, last = INT64_MAX, nan = 0x7FF8000000000000;
};
template <class Key> using Vector = typename Lanes<Key>::Vector;
template <class Key> using Slots = typename Lanes<Key>::Slots;
template <class Key> using Slot = decltype(Slots<Key>{}[0] + 0);
template <class Key> using Real = typename Lanes<Key>::Real;
template <class Key> using Reals = typename Lanes<Real<Key>>::Vector;

template <class V, class Scalar> inline V load(const Scalar* from) {
    V v;
    memcpy(&v, from, sizeof v);
    return v;
}
template <class V, class Scalar> inline void store(Scalar* to, V v) { memcpy(to, &v, sizeof v); }

// To an address of whole vectors, for which no line is fetched where the processor has such a store.
template <class V, class Scalar> inline void store_past_cache(Scalar* to, V v) {
#if defined(__AVX2__)
    _mm256_stream_si256((__m256i*)to, (__m256i)v);
#else
    store(to, v);
#endif
}

template <class Key> inline Vector<Key> spread(Key value) { return Vector<Key>{} + value; }

template <class Key> inline Key flip_negatives(Key bits) {
    return bits ^ (bits < 0 ? Lanes<Key>::last : 0);  // negative floats have larger patterns the smaller they are
}
template <class Key> inline Key key_of(Real<Key> value) {
    Key bits;
    value += 0;  // -0 equals 0 and must get its key
    memcpy(&bits, &value, sizeof bits);
    return value != value ? Lanes<Key>::nan : flip_negatives(bits);
}
template <class Key> inline double height_as(Key key) {
    Real<Key> value;
    key = flip_negatives(key);
    memcpy(&value, &key, sizeof value);
    return value;
}
inline double height_of(int32_t key) { return height_as(key); }
inline double height_of(int64_t key) { return height_as(key); }
inline double height_of(float key) { return key; }
inline double height_of(double key) { return key; }
inline double key_from(double value, double) { return value; }
inline int64_t key_from(double value, int64_t) { return key_of<int64_t>(value); }

template <class Key, class Values> inline Vector<Key> order_like(Values value) {
    value += 0;
    Vector<Key> bits = (Vector<Key>)value;
    bits ^= (bits >> (int)(sizeof(Key) * 8 - 1)) & Lanes<Key>::last;
    return value != value ? spread<Key>(Lanes<Key>::nan) : bits;
}
inline Float8 keys_of(Float8 value, float) { return value; }
inline Double4 keys_of(Double4 value, double) { return value; }
inline Int8 keys_of(Float8 value, int32_t) { return order_like<int32_t>(value); }
inline Int4 keys_of(Double4 value, int64_t) { return order_like<int64_t>(value); }

// The values of one vector of keys, as float64.
inline void widen(const float* keys, double* to) {
#if defined(__AVX2__)
    store(to, _mm256_cvtps_pd(_mm_loadu_ps(keys)));
    store(to + 4, _mm256_cvtps_pd(_mm_loadu_ps(keys + 4)));
#else
    for (int lane = 0; lane < 8; lane++) to[lane] = keys[lane];
#endif
}
inline void widen(const double* keys, double* to) { memcpy(to, keys, 32); }
inline void widen(const int32_t* keys, double* to) {
    for (int lane = 0; lane < 8; lane++) to[lane] = height_of(keys[lane]);
}
inline void widen(const int64_t* keys, double* to) {
    for (int lane = 0; lane < 4; lane++) to[lane] = height_of(keys[lane]);
}

template <class V> inline V smaller(V a, V b) { return a < b ? a : b; }
template <class V> inline V larger(V a, V b) { return a > b ? a : b; }
#if defined(__AVX2__)
inline Float8 smaller(Float8 a, Float8 b) { return (Float8)_mm256_min_ps((__m256)a, (__m256)b); }
inline Float8 larger(Float8 a, Float8 b) { return (Float8)_mm256_max_ps((__m256)a, (__m256)b); }
inline Double4 smaller(Double4 a, Double4 b) { return (Double4)_mm256_min_pd((__m256d)a, (__m256d)b); }
#endif

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

template <class V> inline auto least(V v) {
    constexpr int lanes = sizeof(V) / sizeof(v[0]);
    auto smallest = v[0];
    for (int lane = 1; lane < lanes; lane++) smallest = v[lane] < smallest ? v[lane] : smallest;
    return smallest;
}
#if defined(__AVX2__)
inline int32_t least(Int8 v) {
    __m128i half = _mm_min_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    half = _mm_min_epi32(half, _mm_shuffle_epi32(half, 0x4E));
    return _mm_cvtsi128_si32(_mm_min_epi32(half, _mm_shuffle_epi32(half, 0xB1)));
}
inline float least(Float8 v) {
    __m128 half = _mm_min_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    half = _mm_min_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_min_ss(half, _mm_shuffle_ps(half, half, 1)));
}
inline double least(Double4 v) {
    __m128d half = _mm_min_pd(_mm256_castpd256_pd128((__m256d)v), _mm256_extractf128_pd((__m256d)v, 1));
    return _mm_cvtsd_f64(_mm_min_sd(half, _mm_unpackhi_pd(half, half)));
}
#endif

// The nearest cluster: by key, then by slot.
template <class Key> struct Nearest {
    Key key;
    int32_t slot;
};

template <class Key> inline Slots<Key> lanes() {
    Slots<Key> v;
    for (int lane = 0; lane < Lanes<Key>::width; lane++) v[lane] = lane;
    return v;
}

template <class Key> struct Least {
    Vector<Key> even = Vector<Key>{} + Lanes<Key>::last, odd = even;

    inline void offer(Vector<Key> candidate) {
        Vector<Key> next = smaller(candidate, even);
        even = odd;
        odd = next;
    }
    inline Key key() const { return least(smaller(even, odd)); }
};

// The first smallest of a row, without a branch that depends on where it is.
template <class Key> struct FirstLeast {
    Vector<Key> even = Vector<Key>{} + Lanes<Key>::last, odd = even;
    Slots<Key> even_slot{}, odd_slot{}, slot = lanes<Key>();

    inline void offer(Vector<Key> candidate) {
        Slots<Key> closer = candidate < even, at = closer ? slot : even_slot;
        Vector<Key> key = smaller(candidate, even);
        even = odd, even_slot = odd_slot;
        odd = key, odd_slot = at;
        slot += Lanes<Key>::width;
    }
    inline Nearest<Key> found() const {
        Key key = least(smaller(even, odd));
        Slots<Key> far = Slots<Key>{} + INT32_MAX;
        Slots<Key> first = smaller(even == key ? even_slot : far, odd == key ? odd_slot : far);
        return {key, (int32_t)least(first)};
    }
};

// The first k at which `at(k)`, a vector of keys, holds `key`; `key` must be there.
template <class Key, class At> inline int first_equal(Key key, At at) {
    Vector<Key> wanted = Vector<Key>{} + key;
    for (int k = 0;; k += Lanes<Key>::width)
        if (unsigned found = bits(at(k) == wanted)) return k + __builtin_ctz(found);
}

// One bit for each of `count` keys, at most 32, that equal `key`.
template <int count, class Key, class At> inline unsigned equal_among(Key key, At at) {
    Vector<Key> wanted = Vector<Key>{} + key;
    unsigned found = 0;
#pragma GCC unroll 8
    for (int k = 0; k < count; k += Lanes<Key>::width) found |= bits(at(k) == wanted) << k;
    return found;
}

}  // namespace ATC_ISA

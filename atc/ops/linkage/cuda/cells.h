// What a cell of the matrix holds, the order of distances, and how the cells of two clusters become one.
//
// Compiled by NVRTC for a GPU and by a C++ compiler for the tests. The including file defines, before it does so:
// ATC_DEVICE (how a function is declared), bits_of(float), bits_of(double), float_of(u32), double_of(u64) and
// trailing_zeros(u32 or u64).
#pragma once

enum { SINGLE = 0, COMPLETE = 1, AVERAGE = 2, WARD = 3 };

// Unsigned integers that sort like floats: -inf < ... < -0 = 0 < ... < inf < NaN < the largest integer.
ATC_DEVICE u32 key_of(float value) {
    if (value != value) return 0xFFC00000u;
    const u32 bits = bits_of(value + 0.0f);  // -0 becomes 0
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

ATC_DEVICE u64 key_of(double value) {
    if (value != value) return 0xFFF8000000000000ull;
    const u64 bits = bits_of(value + 0.0);
    return bits >> 63 ? ~bits : bits | 0x8000000000000000ull;
}

ATC_DEVICE double value_of(u32 key) { return float_of(key >> 31 ? key & 0x7FFFFFFFu : ~key); }

ATC_DEVICE double value_of(u64 key) { return double_of(key >> 63 ? key & 0x7FFFFFFFFFFFFFFFull : ~key); }

template <class Input> struct KeyOf;
template <> struct KeyOf<float> { typedef u32 type; };
template <> struct KeyOf<double> { typedef u64 type; };

// Single and complete linkage only compare distances: cells are keys.
template <int METHOD_, class Input_> struct Linkage {
    static constexpr int METHOD = METHOD_;
    typedef Input_ Input;
    typedef typename KeyOf<Input>::type Key;
    typedef Key Cell;
    static ATC_DEVICE Cell cell(Input given) { return key_of(given); }
    static ATC_DEVICE Key key(Cell cell, int) { return cell; }
    static ATC_DEVICE Cell join(Cell a, Cell b) { return (METHOD == SINGLE) == (a < b) ? a : b; }
};

// Average linkage: cells are sums over all pairs of members, divided when they are compared.
template <class Input_> struct Linkage<AVERAGE, Input_> {
    static constexpr int METHOD = AVERAGE;
    typedef Input_ Input;
    typedef u64 Key;
    typedef double Cell;
    static ATC_DEVICE Cell cell(Input given) { return given; }
    static ATC_DEVICE Key key(Cell cell, int pairs) { return key_of(pairs == 1 ? cell : cell / pairs); }
    static ATC_DEVICE Cell join(Cell a, Cell b) { return a + b; }
};

// Ward: cells are distances; `ward` below joins them.
template <class Input_> struct Linkage<WARD, Input_> {
    static constexpr int METHOD = WARD;
    typedef Input_ Input;
    typedef u64 Key;
    typedef double Cell;
    static ATC_DEVICE Cell cell(Input given) { return given; }
    static ATC_DEVICE Key key(Cell cell, int) { return key_of(cell); }
    static ATC_DEVICE Cell join(Cell a, Cell) { return a; }
};

// The recurrence of Lance and Williams (1967) for the distance of a third cluster to the union of two; the order of
// operations is the oracle's, and fused multiply-adds must be off.
ATC_DEVICE double ward(double one, double other, double apart, int size_one, int size_other, int size_third) {
    const double i = size_one, j = size_other, k = size_third;
    const double grown = (i + k) * one + (j + k) * other;
    return (grown - k * apart) / (i + j + k);
}

// Whether all sums of an image's distances are exact in float64, in any order: every finite distance is a whole
// number of some unit, and the largest sum has at most 2^53 of these units. Infinity and NaN do not depend on order.
struct Spread {
    enum { LIMIT = 2099, NOTHING = 1 << 20 };  // 2^LIMIT, in units of 2^-1075, is the first power beyond float64

    u32 lowest = NOTHING;  // exponent of the smallest bit set in any distance
    u32 below = NOTHING;   // LIMIT less an exponent that bounds all distances

    // A subnormal number counts as one of exponent 0, which makes its unit smaller than it is.
    ATC_DEVICE void add(float value) {
        const u32 bits = bits_of(value) & 0x7FFFFFFFu;
        if (bits && bits < 0x7F800000u) note(bits >> 23, trailing_zeros(bits | 0x800000u), 24);
    }

    ATC_DEVICE void add(double value) {
        const u64 bits = bits_of(value) & 0x7FFFFFFFFFFFFFFFull;
        if (bits && bits < 0x7FF0000000000000ull) note(u32(bits >> 52), trailing_zeros(bits | 0x10000000000000ull), 53);
    }

    ATC_DEVICE void note(u32 exponent, u32 zeros, u32 digits) {
        if (exponent + zeros < lowest) lowest = exponent + zeros;
        if (LIMIT - (exponent + digits) < below) below = LIMIT - (exponent + digits);
    }

    ATC_DEVICE bool exact(int tokens) const {
        int doublings = 0;  // two clusters have at most (tokens / 2)^2 <= 2^doublings pairs of members
        while ((2 << (doublings / 2)) < tokens) doublings += 2;
        return int(below) >= doublings && LIMIT - int(below) + doublings - int(lowest) <= 53;
    }
};

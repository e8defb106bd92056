// How far each token's nearest is, without keeping the square.
#pragma once

#include "prepare.h"

namespace ATC_ISA {

// Each token's distance to its nearest, over all tokens and over later ones; NaN is never the nearest.
template <class Value> struct NearestDistances {
    static constexpr int W = Lanes<Value>::width;

    const Value* image;
    int64_t stride;
    int tokens, padded;
    Value* nearest;  // [padded]
    Value* later;    // [padded]

    void find() {
        for (int k = 0; k < padded; k++) nearest[k] = Lanes<Value>::last;
        Vector<Value> tile[W]{}, rows[W]{};
        int whole = tokens / W * W;
        for (int top = 0; top < padded; top += W) {
            for (int i = 0; i < W; i++) rows[i] = spread<Value>(Lanes<Value>::last);
            if (top < whole) diagonal(top, rows);
            else edge(top, top, rows);
            for (int left = top + W; left < whole; left += W) {
                if (left % (64 / sizeof(Value)) == 0)
                    for (int i = 0; i < W; i++) __builtin_prefetch(image + (top + W + i) * stride + left);
                inside(top, left, rows);
            }
            // The last columns come twice, which changes no minimum.
            if (whole < tokens && top + W <= tokens - W) inside(top, tokens - W, rows);
            else if (whole < tokens && top < whole) edge(top, whole, rows);
            transpose(rows, tile);
            for (int i = 1; i < W; i++) tile[0] = smaller(tile[i], tile[0]);
            store(later + top, tile[0]);
            store(nearest + top, smaller(tile[0], load<Vector<Value>>(nearest + top)));
        }
    }

  private:
    inline void offer(const Vector<Value>* tile, int left, Vector<Value>* rows) {
        Vector<Value> columns = load<Vector<Value>>(nearest + left);
        for (int i = 0; i < W; i++) {
            rows[i] = smaller(tile[i], rows[i]);
            columns = smaller(tile[i], columns);
        }
        store(nearest + left, columns);
    }
    inline void inside(int top, int left, Vector<Value>* rows) {
        Vector<Value> tile[W];
        for (int i = 0; i < W; i++) tile[i] = load<Vector<Value>>(image + (top + i) * stride + left);
        offer(tile, left, rows);
    }
    inline void diagonal(int top, Vector<Value>* rows) {
        Vector<Value> tile[W];
        for (int i = 0; i < W; i++) {
            tile[i] = load<Vector<Value>>(image + (top + i) * stride + top);
            tile[i] = lanes<Value>() > Slots<Value>{} + i ? tile[i] : spread<Value>(Lanes<Value>::last);
        }
        offer(tile, top, rows);
    }
    inline void edge(int top, int left, Vector<Value>* rows) {
        Vector<Value> tile[W];
        load_edge<Value>(image, stride, tokens, top, left, tile);
        offer(tile, left, rows);
    }
};

// How many of the keys are `bound` or less; `last` follows them up to whole vectors.
template <class Value> inline int count_up_to(const Value* keys, int padded, Value bound) {
    constexpr int W = Lanes<Value>::width;
    Slots<Value> found{};
    for (int k = 0; k < padded; k += W) found -= load<Vector<Value>>(keys + k) <= spread<Value>(bound);
    int count = 0;
    for (int lane = 0; lane < W; lane++) count += (int)found[lane];
    return count;
}

// A bound that at least `least` and at most `most` of the keys do not exceed; `last` if there is none.
template <class Value> Value bound_for(const Value* keys, int count, int padded, int least, int most) {
    Value low = Lanes<Value>::last, high = Lanes<Value>::first;
    for (int k = 0; k < count; k++) low = keys[k] < low ? keys[k] : low, high = keys[k] > high ? keys[k] : high;
    if (low < -Lanes<Value>::largest) return Lanes<Value>::last;  // differences might not be finite
    if (least >= count) return count <= most ? high : Lanes<Value>::last;
    int within = count_up_to(keys, padded, low);
    if (within >= least) return within <= most ? low : Lanes<Value>::last;
    for (;;) {  // fewer than `least` up to low, more than `most` up to high
        Value middle = low + (high - low) / 2;
        if (middle == low || middle == high) return Lanes<Value>::last;
        within = count_up_to(keys, padded, middle);
        if (within >= least && within <= most) return middle;
        (within < least ? low : high) = middle;
    }
}

}  // namespace ATC_ISA

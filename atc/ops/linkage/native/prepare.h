// One pass over the upper triangle: symmetric keys, the nearest neighbour of every row, and the range of values.
#pragma once

#include "keys.h"

namespace ATC_ISA {

// Symmetric keys of one image, `last` on the diagonal and in the padding.
template <class Key> struct Square {
    int tokens;      // N
    int padded;      // N rounded up to whole vectors: the number of rows
    int64_t stride;  // keys from row to row
    Key* cells;      // [padded, stride]
    Key* nearest;    // [padded] smallest key of each row
    Key* neighbour;  // [padded] its first slot
    Key lowest, highest;

    inline Key* row(int slot) const { return cells + slot * stride; }
};

// A running nearest in each lane; slots must come in ascending order, so that the first of equals stays.
template <class Key> struct NearestLanes {
    Ints<Key> key, slot;

    inline void offer(Ints<Key> candidate, Ints<Key> at) {
        Ints<Key> closer = candidate < key;
        key = smaller(candidate, key);
        slot = closer ? at : slot;
    }
};

// Keys of a width x width tile whose upper left cell is (top, left); `last` below the diagonal and outside.
template <class Key, bool any_value>
inline void load_tile(const Float<Key>* image, int64_t stride, int tokens, int top, int left, Ints<Key>* tile,
                      Ints<Key>& highest) {
    constexpr int W = Lanes<Key>::width;
    constexpr Key last = Lanes<Key>::last;
    if (left > top && left + W <= tokens && top + W <= tokens) {
        for (int i = 0; i < W; i++) {
            __builtin_prefetch(image + (top + W + i) * stride + left);
            tile[i] = keys_of<Key, any_value>(load<typename Lanes<Key>::Floats>(image + (top + i) * stride + left));
            highest = larger(highest, tile[i]);
        }
        return;
    }
    int columns = tokens - left < W ? tokens - left : W;
    for (int i = 0; i < W; i++) {
        // Columns from `from` to `columns` of this row are pairs; the others are not read, or not believed.
        int from = top + i - left + 1;
        if (top + i >= tokens || from >= columns) {
            tile[i] = spread<Key>(last);
            continue;
        }
        Ints<Key> keys = keys_of<Key, any_value>(load_first(image + (top + i) * stride + left, columns));
        Ints<Key> pairs = (lanes<Key>() >= spread<Key>(from)) & (lanes<Key>() < spread<Key>(columns));
        highest = larger(highest, pairs ? keys : spread<Key>(Lanes<Key>::first));
        tile[i] = pairs ? keys : spread<Key>(last);
    }
}

// Tiles are visited in blocks that fit the first cache level even when transposed. Every row is offered its
// cells in ascending order of columns: those left of the diagonal tile come from the rows above.
template <class Key, bool any_value> void prepare_as(const Float<Key>* image, int64_t stride, Square<Key>& to) {
    constexpr int W = Lanes<Key>::width;
    const int block = to.padded <= 512 ? to.padded : 64;
    Ints<Key> highest = spread<Key>(Lanes<Key>::first);
    for (int k = 0; k < to.padded; k++) {
        to.nearest[k] = Lanes<Key>::last;
        to.neighbour[k] = 0;
    }
    Ints<Key> tile[W], turned[W], row_slots[W];
    for (int block_top = 0; block_top < to.padded; block_top += block)
        for (int block_left = block_top; block_left < to.padded; block_left += block)
            for (int top = block_top; top < block_top + block && top < to.padded; top += W) {
                NearestLanes<Key> rows{load<Ints<Key>>(to.nearest + top), load<Ints<Key>>(to.neighbour + top)};
                for (int i = 0; i < W; i++) row_slots[i] = spread<Key>(top + i);
                int left = block_left > top ? block_left : top;
                Ints<Key> column_slot = spread<Key>(left);
                for (; left < block_left + block && left < to.padded; left += W) {
                    load_tile<Key, any_value>(image, stride, to.tokens, top, left, tile, highest);
                    transpose(tile, turned);
                    if (left == top) {
                        for (int i = 0; i < W; i++, column_slot += 1) {
                            turned[i] = smaller(tile[i], turned[i]);
                            store(to.row(top + i) + left, turned[i]);
                            rows.offer(turned[i], column_slot);
                        }
                        continue;
                    }
                    NearestLanes<Key> columns{load<Ints<Key>>(to.nearest + left),
                                              load<Ints<Key>>(to.neighbour + left)};
                    for (int i = 0; i < W; i++, column_slot += 1) {
                        store(to.row(top + i) + left, tile[i]);
                        columns.offer(tile[i], row_slots[i]);
                        store(to.row(left + i) + top, turned[i]);
                        rows.offer(turned[i], column_slot);
                    }
                    store(to.nearest + left, columns.key);
                    store(to.neighbour + left, columns.slot);
                }
                store(to.nearest + top, rows.key);
                store(to.neighbour + top, rows.slot);
            }
    to.lowest = Lanes<Key>::last;
    to.highest = Lanes<Key>::first;
    for (int lane = 0; lane < W; lane++) to.highest = highest[lane] > to.highest ? highest[lane] : to.highest;
    for (int k = 0; k < to.padded; k++) to.lowest = to.nearest[k] < to.lowest ? to.nearest[k] : to.lowest;
}

template <class Key> void prepare(const Float<Key>* image, int64_t stride, Square<Key>& to) {
    constexpr Key infinite = Lanes<Key>::infinite;
    prepare_as<Key, false>(image, stride, to);
    // Without looking for them, NaNs come out beyond the infinities.
    if (to.highest > infinite || to.lowest < flip_negatives(infinite | Lanes<Key>::first))
        prepare_as<Key, true>(image, stride, to);
}

}  // namespace ATC_ISA

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

// The smallest and largest key seen, in each lane.
template <class Key> struct Range {
    Ints<Key> lowest = spread<Key>(Lanes<Key>::last), highest = spread<Key>(Lanes<Key>::first);
};

// Keys of a width x width tile whose upper left cell is (top, left); `last` below the diagonal and outside.
template <class Key>
inline void load_tile(const Float<Key>* image, int64_t stride, int tokens, int top, int left, Ints<Key>* tile,
                      Range<Key>& range) {
    constexpr int W = Lanes<Key>::width;
    constexpr Key first = Lanes<Key>::first, last = Lanes<Key>::last;
    if (left > top && left + W <= tokens && top + W <= tokens) {
        for (int i = 0; i < W; i++) {
            tile[i] = keys_of<Key>(load<typename Lanes<Key>::Floats>(image + (top + i) * stride + left));
            range.lowest = smaller(range.lowest, tile[i]);
            range.highest = larger(range.highest, tile[i]);
        }
        return;
    }
    for (int i = 0; i < W; i++) {
        tile[i] = spread<Key>(last);
        for (int j = 0; j < W && left + j < tokens && top + i < tokens; j++)
            if (left + j > top + i) tile[i][j] = key_of<Key>(image[(top + i) * stride + left + j]);
        range.lowest = smaller(range.lowest, tile[i]);
        range.highest = larger(range.highest, tile[i] == spread<Key>(last) ? spread<Key>(first) : tile[i]);
    }
}

// Tiles are visited in blocks that fit the first cache level even when transposed. Every row is offered its
// cells in ascending order of columns: those left of the diagonal tile come from the rows above.
template <class Key> void prepare(const Float<Key>* image, int64_t stride, Square<Key>& to) {
    constexpr int W = Lanes<Key>::width, block = 64;
    Range<Key> range;
    for (int k = 0; k < to.padded; k++) {
        to.nearest[k] = Lanes<Key>::last;
        to.neighbour[k] = 0;
    }
    Ints<Key> tile[W], turned[W];
    for (int block_top = 0; block_top < to.padded; block_top += block)
        for (int block_left = block_top; block_left < to.padded; block_left += block)
            for (int top = block_top; top < block_top + block && top < to.padded; top += W) {
                NearestLanes<Key> rows{load<Ints<Key>>(to.nearest + top), load<Ints<Key>>(to.neighbour + top)};
                int left = block_left > top ? block_left : top;
                for (; left < block_left + block && left < to.padded; left += W) {
                    load_tile<Key>(image, stride, to.tokens, top, left, tile, range);
                    transpose(tile, turned);
                    if (left == top) {
                        for (int i = 0; i < W; i++) {
                            turned[i] = smaller(tile[i], turned[i]);
                            store(to.row(top + i) + left, turned[i]);
                            rows.offer(turned[i], spread<Key>(left + i));
                        }
                        continue;
                    }
                    NearestLanes<Key> columns{load<Ints<Key>>(to.nearest + left),
                                              load<Ints<Key>>(to.neighbour + left)};
                    for (int i = 0; i < W; i++) {
                        store(to.row(top + i) + left, tile[i]);
                        columns.offer(tile[i], spread<Key>(top + i));
                        store(to.row(left + i) + top, turned[i]);
                        rows.offer(turned[i], spread<Key>(left + i));
                    }
                    store(to.nearest + left, columns.key);
                    store(to.neighbour + left, columns.slot);
                }
                store(to.nearest + top, rows.key);
                store(to.neighbour + top, rows.slot);
            }
    to.lowest = Lanes<Key>::last;
    to.highest = Lanes<Key>::first;
    for (int lane = 0; lane < W; lane++) {
        to.lowest = range.lowest[lane] < to.lowest ? range.lowest[lane] : to.lowest;
        to.highest = range.highest[lane] > to.highest ? range.highest[lane] : to.highest;
    }
}

}  // namespace ATC_ISA

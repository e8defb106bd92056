// One pass over the upper triangle: symmetric keys, the nearest of every row, and whether all values are finite.
#pragma once

#include "tile.h"

namespace ATC_ISA {

// Symmetric keys of one image, `last` on the diagonal and in the padding.
template <class Key> struct Square {
    int tokens;            // N
    int padded;            // N rounded up to whole vectors: the number of rows
    int64_t stride;        // keys from row to row, more than padded: one is spare
    Key* cells;            // [padded, stride]
    Key* nearest;          // [padded] smallest key of each row
    Slot<Key>* neighbour;  // [padded] its first slot

    inline Key* row(int slot) const { return cells + slot * stride; }
    // The same, asking for the whole of a long row before single cells of it are touched in no order.
    inline Key* fetched(int slot) const {
        Key* cell = row(slot);
        if (padded >= 1024)
            for (int k = 0; k < padded; k += 64 / (int)sizeof(Key)) __builtin_prefetch(cell + k, 1);
        return cell;
    }
};

// A running nearest in each lane; slots must come in ascending order, so that the first of equals stays.
template <class Key> struct NearestLanes {
    Vector<Key> key;
    Slots<Key> slot;

    NearestLanes(const Square<Key>& square, int from)
        : key(load<Vector<Key>>(square.nearest + from)), slot(load<Slots<Key>>(square.neighbour + from)) {}
    inline void offer(Vector<Key> candidate, Slots<Key> at) {
        Slots<Key> closer = candidate < key;
        slot = closer ? at : slot;
        key = smaller(candidate, key);
    }
    inline void keep(const Square<Key>& square, int from) const {
        store(square.nearest + from, key);
        store(square.neighbour + from, slot);
    }
};

// Keys of the width x width tile at (top, left), `last` below the diagonal and outside, and the sum of its values.
template <class Key>
inline Reals<Key> load_edge(const Real<Key>* image, int64_t stride, int tokens, int top, int left, Vector<Key>* tile) {
    constexpr int W = Lanes<Key>::width;
    int columns = tokens - left < W ? tokens - left : W;
    Reals<Key> total{};
    for (int i = 0; i < W; i++) {
        // Columns from `from` to `columns` of this row are pairs; the others are not read, or masked.
        int from = top + i - left + 1;
        tile[i] = spread<Key>(Lanes<Key>::last);
        if (top + i >= tokens || from >= columns) continue;
        Slots<Key> lane = lanes<Key>(), none{};
        auto pairs = (lane >= none + from) & (lane < none + columns);
        Reals<Key> value = load_first(image + (top + i) * stride + left, columns);
        total += pairs ? value : Reals<Key>{};
        tile[i] = pairs ? keys_of(value, Key()) : tile[i];
    }
    return total;
}

// A block inside the square, of `side` rows and columns, that is too far from the next use to be worth a place in the
// cache. Lines are written whole, which spares reading them first: two by two tiles, each half a line wide.
template <class Key>
void prepare_past_cache(const Real<Key>* image, int64_t stride, Square<Key>& to, int top, int left, int side,
                        Reals<Key>* total) {
    constexpr int W = Lanes<Key>::width;
    Vector<Key> tile[2][2][W], turned[2][2][W];
    for (int row = top; row < top + side; row += 2 * W) {
        NearestLanes<Key> rows[2] = {{to, row}, {to, row + W}};
        for (int column = left; column < left + side; column += 2 * W) {
            const Real<Key>* from = image + row * stride + column;
            for (int i = 0; i < 2 * W; i++) __builtin_prefetch(from + (2 * W + i) * stride);
            for (int b = 0; b < 2; b++) {
                NearestLanes<Key> columns(to, column + b * W);
                for (int a = 0; a < 2; a++) {
                    for (int i = 0; i < W; i++) {
                        Reals<Key> value = load<Reals<Key>>(from + (a * W + i) * stride + b * W);
                        total[a] += value;
                        tile[a][b][i] = keys_of(value, Key());
                        columns.offer(tile[a][b][i], Slots<Key>{} + (row + a * W + i));
                    }
                    transpose(tile[a][b], turned[a][b]);
                    for (int i = 0; i < W; i++) rows[a].offer(turned[a][b][i], Slots<Key>{} + (column + b * W + i));
                }
                columns.keep(to, column + b * W);
            }
            for (int half = 0; half < 2; half++)
                for (int i = 0; i < W; i++) {
                    Key* upper = to.row(row + half * W + i) + column;
                    store_past_cache(upper, tile[half][0][i]);
                    store_past_cache(upper + W, tile[half][1][i]);
                    Key* lower = to.row(column + half * W + i) + row;
                    store_past_cache(lower, turned[0][half][i]);
                    store_past_cache(lower + W, turned[1][half][i]);
                }
        }
        rows[0].keep(to, row);
        rows[1].keep(to, row + W);
    }
}

// The pass. Tiles are visited in blocks that fit the second cache level even when transposed. Returns the sum of all
// values, which is finite only if all of them are.
template <class Key> Real<Key> prepare(const Real<Key>* image, int64_t stride, Square<Key>& to) {
    constexpr int W = Lanes<Key>::width;
    const int tokens = to.tokens, padded = to.padded, block = padded <= 512 ? padded : 256;
    for (int k = 0; k < padded; k++) {
        to.nearest[k] = Lanes<Key>::last;
        to.neighbour[k] = 0;
        to.row(k)[padded] = 0;
    }
    Reals<Key> total[2]{};
    Vector<Key> tile[W]{}, turned[W]{};
    for (int block_top = 0; block_top < padded; block_top += block)
        for (int block_left = block_top; block_left < padded; block_left += block) {
            if (padded >= 2048 && block_left > block_top && block_left + block <= tokens) {
                prepare_past_cache(image, stride, to, block_top, block_left, block, total);
                continue;
            }
            for (int top = block_top; top < block_top + block && top < padded; top += W) {
                NearestLanes<Key> rows(to, top);
                int end = block_left + block < padded ? block_left + block : padded;
                for (int left = block_left > top ? block_left : top; left < end; left += W) {
                    if (left == top || left + W > tokens) {
                        total[0] += load_edge<Key>(image, stride, tokens, top, left, tile);
                    } else {
                        const Real<Key>* from = image + top * stride + left;
                        if (left % (64 / sizeof(Key)) == 0)  // rows are too short for the processor's prefetching
                            for (int i = 0; i < W; i++) __builtin_prefetch(from + (W + i) * stride);
                        for (int i = 0; i < W; i++) {
                            Reals<Key> value = load<Reals<Key>>(from + i * stride);
                            total[i % 2] += value;
                            tile[i] = keys_of(value, Key());
                        }
                    }
                    Slots<Key> row_slot = Slots<Key>{} + top, column_slot = Slots<Key>{} + left;
                    Key* upper = to.row(top) + left;
                    if (left == top) {
                        transpose(tile, turned);
                        for (int i = 0; i < W; i++) {
                            turned[i] = smaller(tile[i], turned[i]);
                            rows.offer(turned[i], column_slot + i);
                            store(upper + i * to.stride, turned[i]);
                        }
                        continue;
                    }
                    NearestLanes<Key> columns(to, left);
                    for (int i = 0; i < W; i++) {
                        columns.offer(tile[i], row_slot + i);
                        store(upper + i * to.stride, tile[i]);
                    }
                    columns.keep(to, left);
                    transpose(tile, turned);
                    Key* lower = to.row(left) + top;
                    for (int i = 0; i < W; i++) {
                        rows.offer(turned[i], column_slot + i);
                        store(lower + i * to.stride, turned[i]);
                    }
                }
                rows.keep(to, top);
            }
        }
    Real<Key> sum = 0;
    for (int lane = 0; lane < W; lane++) sum += total[0][lane] + total[1][lane];
    return sum;
}

// Whether all values are finite, and no sum of them overflows.
template <class Value> inline bool within_range(Value total, const Square<Value>& square) {
    constexpr Value largest = Lanes<Value>::largest;
    bool within = total >= -largest && total <= largest;  // not if it is NaN
    for (int k = 0; k < square.tokens; k++) within &= square.nearest[k] >= -largest;
    return within;
}

}  // namespace ATC_ISA

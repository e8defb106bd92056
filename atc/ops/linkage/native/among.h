// Clusters that merge with neighbours only, each cell computed as the reference does: ../README.md, "Among neighbours".
//
// The distances to all clusters are remembered, since an average over pairs of members counts those that are no
// neighbours. Which clusters are neighbours is written at once at every merge: there are few of each, and a row looks
// at no others. A cluster may get a neighbour that is nearer than those it had; `join` lowers its bound.
#pragma once

#include "float64_rows.h"
#include "job.h"

namespace ATC_ISA {

template <class Source> struct Among {
    using Key = int64_t;
    static constexpr int at_once = 8;  // flags that are read together

    WideRows<Source> rows;
    uint8_t* beside;  // [tokens, stride] whether two clusters are neighbours, 0 or 1
    int64_t stride;
    int method;
    bool once;  // a union merges no further

    static int64_t stride_for(int64_t tokens) { return (tokens + at_once - 1) / at_once * at_once; }

    // The pairs above the diagonal count.
    void read(const uint8_t* neighbours) {
        int tokens = rows.tokens;
        memset(beside, 0, stride * tokens);
        for (int i = 0; i < tokens; i++)
            for (int k = i + 1; k < tokens; k++)
                beside[i * stride + k] = beside[k * stride + i] = neighbours[(int64_t)i * tokens + k] != 0;
    }
    // From now on all clusters are each other's neighbours.
    void open(const int32_t* born) {
        for (int i = 0; i < rows.tokens; i++)
            for (int k = 0; k < rows.tokens; k++)
                beside[i * stride + k] = i != k && born[i] != INT32_MAX && born[k] != INT32_MAX;
    }
    // Bounds before the first merge, without rows of float64.
    void start(State<Key>& state) {
        for (int slot = 0; slot < state.tokens; slot++) {
            const Source* keys = rows.square.row(slot);
            Nearest<Source> best{Lanes<Source>::last, 0};
            each(slot, [&](int k) {
                if (keys[k] < best.key) best = {keys[k], k};
            });
            bool none = best.key == Lanes<Source>::last;
            state.nearest.key[slot] = none ? Lanes<Key>::last : key_from(height_of(best.key), Key());
            state.neighbour[slot] = best.slot;
        }
        for (int k = state.tokens; k < state.nearest.padded; k++) state.nearest.key[k] = Lanes<Key>::last;
        state.nearest.rebuild();
    }
    inline void bounded(int, Key) {}
    inline int32_t nobody() const { return 0; }  // its value is not read
    inline void catch_up(int slot, const State<Key>& state, int from, int to) {
        rows.catch_up(slot, state.log, state.born, from, to);
    }
    inline Nearest<Key> scan(int slot) {
        const double* row = rows.at(slot);
        Nearest<Key> best{Lanes<Key>::last, 0};
        each(slot, [&](int k) {
            Key candidate = key(slot, row, k);
            if (candidate < best.key) best = {candidate, k};
        });
        return best;
    }
    inline Nearest<Key> join(int low, int high, State<Key>& state, int merge) {
        const double* one = rows.at(low);
        double* other = rows.at(high);
        for (int k = 0; k < rows.tokens; k++) other[k] = joined(low, high, k, one[k], other[k], state.heights[merge]);
        rows.size[high] += rows.size[low];
        hand_over(low, high);
        rows.release(low);
        each(high, [&](int k) { lower_bound(*this, state, k, {key(high, other, k), high}); });
        return scan(high);
    }

  private:
    // The slots of a cluster's neighbours in ascending order.
    template <class Do> inline void each(int slot, Do work) const {
        const uint8_t* flags = beside + slot * stride;
        for (int k = 0; k < rows.tokens; k += at_once) {
            uint64_t some;
            memcpy(&some, flags + k, sizeof some);
            if (!some) continue;
            for (int i = k; i < k + at_once; i++)
                if (flags[i]) work(i);
        }
    }
    inline Key key(int slot, const double* row, int k) const {
        return key_of<Key>(method == ATC_AVERAGE ? row[k] / (rows.size[slot] * rows.size[k]) : row[k]);
    }
    inline double joined(int low, int high, int k, double one, double other, double distance) const {
        if (method == ATC_SINGLE) return other != other || one < other ? one : other;
        if (method == ATC_COMPLETE) return other != other || one <= other ? other : one;
        if (method == ATC_AVERAGE) return one + other;
        return rows.grown(rows.size[low], rows.size[high], rows.size[k], one, other, distance);
    }
    inline void hand_over(int low, int high) {
        uint8_t *from = beside + low * stride, *to = beside + high * stride;
        each(low, [&](int k) {
            from[k] = beside[k * stride + low] = 0;
            to[k] = beside[k * stride + high] = k != high;
        });
        if (!once) return;
        each(high, [&](int k) { to[k] = beside[k * stride + high] = 0; });
    }
};

// Fewer merges than asked for, if unions merge no further and no two neighbours are left.
template <class Source> Counters merge_among(Among<Source>& rows, State<int64_t>& state, int keep) {
    rows.start(state);
    Greedy<Among<Source>> greedy(rows, state);
    while (greedy.merged < state.tokens - keep) {
        int first = state.nearest.first();
        if (state.nearest.key[first] == Lanes<int64_t>::last) {
            if (rows.once) break;
            rows.open(state.born);
            for (int slot = 0; slot < state.tokens; slot++)
                if (state.born[slot] != INT32_MAX) greedy.rescan(slot);
        } else if (greedy.fresh(first)) {
            greedy.merge(first, state.neighbour[first]);
        } else {
            greedy.rescan(first);
        }
    }
    return greedy.finished();
}

}  // namespace ATC_ISA

// Average linkage in float32, with a bound on its rounding errors: ../README.md, "Why the results are exact", 4.
//
// Here the number of additions m is at most the sum of the depths of both merge trees, and multiplying by both rounded
// 1 / size adds four roundings. Bounds of rows stay valid, since exact merged distances are never below both that they
// come from.
#pragma once

#include "single_complete.h"

namespace ATC_ISA {

struct Means {
    using Key = float;
    static constexpr int W = Lanes<float>::width;

    Square<float>& cells;
    const float* image;  // the distances as given, of which the upper triangle counts
    int64_t image_stride;
    float* inverse;    // [padded] 1 / size
    float* gone;       // [padded] infinity where the slot is dead, else 0
    int32_t* size;     // [tokens] members of each cluster
    int32_t* depth;    // [tokens] of its tree
    int32_t* member;   // [tokens] the next member of the same cluster, in a ring
    int32_t* near;     // [tokens] slots whose bounds are in doubt
    double negative;   // twice the largest absolute value of a negative distance
    int64_t patience;  // cells that may be read to settle doubts; with many equal distances float64 is faster
    int deepest = 0;
    int known_grid = -1;  // not computed yet

    void reset() {
        for (int k = 0; k < cells.padded; k++) {
            inverse[k] = 1;
            gone[k] = k < cells.tokens ? 0 : Lanes<float>::last;
        }
        for (int k = 0; k < cells.tokens; k++) {
            size[k] = 1;
            depth[k] = 0;
            member[k] = k;
        }
    }
    inline void bounded(int, float) {}
    inline int32_t nobody() const { return cells.padded; }
    inline void catch_up(int slot, const State<float>& state, int from, int to) {
        float* row = cells.fetched(slot);
        const Merge* log = state.log;
        for (int t = from; t < to; t += replay_step)
            for (int u = t; u < t + replay_step; u++) row[log[u].high] += row[log[u].low];
    }
    inline Nearest<float> scan(int slot) {
        const float* row = cells.row(slot);
        FirstLeast<float> nearest;
        for (int k = 0; k < cells.padded; k += W) nearest.offer(mean(row, k));
        Nearest<float> found = nearest.found();
        return {found.key * inverse[slot], found.slot};
    }
    inline Nearest<float> join(int low, int high, const State<float>&, int) {
        const float* one = cells.row(low);
        float* other = cells.row(high);
        gone[low] = Lanes<float>::last;
        FirstLeast<float> nearest;
        for (int k = 0; k < cells.padded; k += W) {
            Float8 sum = load<Float8>(one + k) + load<Float8>(other + k);  // infinite at `low` and `high`
            store(other + k, sum);
            nearest.offer(sum * load<Float8>(inverse + k) + load<Float8>(gone + k));
        }
        depth[high] = 1 + (depth[low] > depth[high] ? depth[low] : depth[high]);
        deepest = depth[high] > deepest ? depth[high] : deepest;
        size[high] += size[low];
        inverse[high] = 1.0f / (float)size[high];
        int32_t after = member[low];
        member[low] = member[high];
        member[high] = after;
        Nearest<float> found = nearest.found();
        return {found.key * inverse[high], found.slot};
    }
    // Rows whose bound is larger have no distance that may be as small as one of which `least` is the approximation.
    inline float in_doubt(float least) const {
        double doubt = 1.1 * (2 * deepest + 8) * 0x1p-24, absolute = least < 0 ? -least : least;
        return (float)(least + 2.5 * doubt * (absolute + negative) + 1e-36);
    }
    // The nearest pair among those in doubt, by exact distance, then by slots. Rows `near` must be up to date.
    Nearest<double> settle(int count, float most, int& partner) {
        Nearest<double> best{Lanes<double>::last, 0};
        for (int n = 0; n < count && patience >= 0; n++) {
            int slot = near[n];
            const float* row = cells.row(slot);
            patience -= cells.padded;
            Float8 bound = Float8{} + most, scale = Float8{} + inverse[slot];
            for (int k = 0; k < cells.padded; k += W)
                for (unsigned close = bits(mean(row, k) * scale <= bound); close; close &= close - 1) {
                    int other = k + __builtin_ctz(close);
                    int low = slot < other ? slot : other, high = slot < other ? other : slot;
                    double candidate = exact(low, high);
                    if (candidate < best.key ||
                        (candidate == best.key && (low < best.slot || (low == best.slot && high < partner)))) {
                        best = {candidate, low};
                        partner = high;
                    }
                }
        }
        return best;
    }
    // Whether float64 sums of these distances are exact: multiples of 2**-24, and few and small enough.
    bool on_grid() {
        if (known_grid >= 0) return known_grid;
        float most = (float)(0x1p31 / ((double)cells.tokens * cells.tokens));
        most = most < 64 ? most : 64;
        int off = 0;
        for (int i = 0; i < cells.tokens; i++) {
            const float* row = image + i * image_stride;
            for (int j = i + 1; j < cells.tokens; j++) {
                float steps = row[j] * 0x1p24f;
                off |= (row[j] > most) | (row[j] < -most) | (steps != __builtin_rintf(steps));
            }
        }
        known_grid = !off;
        return known_grid;
    }

  private:
    inline Float8 mean(const float* row, int k) const {
        return load<Float8>(row + k) * load<Float8>(inverse + k) + load<Float8>(gone + k);
    }
    double exact(int low, int high) {
        double sum = 0;
        int a = low, b = high;
        do {
            do sum += a < b ? image[a * image_stride + b] : image[b * image_stride + a];
            while ((b = member[b]) != high);
        } while ((a = member[a]) != low);
        patience -= (int64_t)size[low] * size[high];
        return sum / ((double)size[low] * size[high]);
    }
};

// False if float64 sums are needed throughout.
inline bool merge_means(Means& rows, State<float>& state, int keep, Counters& counters) {
    Greedy<Means> greedy(rows, state);
    int64_t doubts = 0;
    while (greedy.merged < state.tokens - keep) {
        int first = state.nearest.first();
        if (!greedy.fresh(first)) {
            greedy.rescan(first);
            continue;
        }
        int second = state.neighbour[first];
        float most = rows.in_doubt(state.nearest.key[first]);
        if (state.nearest.none_up_to(most, first, second)) {
            greedy.merge(first, second);
            continue;
        }
        int count = state.nearest.up_to(most, rows.near);
        bool stale = false;
        for (int n = 0; n < count; n++) {
            if (greedy.fresh(rows.near[n])) {
                greedy.catch_up(rows.near[n]);
            } else {
                greedy.rescan(rows.near[n]);
                stale = true;
            }
        }
        rows.patience -= count;
        if (!stale && rows.on_grid()) {
            first = rows.settle(count, most, second).slot;
            greedy.merge(first, second);
            doubts++;
        }
        if (rows.patience < 0 || !rows.known_grid) return false;
    }
    counters = greedy.finished();
    counters.doubts = doubts;
    return true;
}

}  // namespace ATC_ISA

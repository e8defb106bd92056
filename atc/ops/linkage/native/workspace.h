// The memory of one thread, cut into what the algorithms need.
#pragma once

#include "among.h"
#include "cutter.h"
#include "single_boruvka.h"

namespace ATC_ISA {

// Finite distances are compared as they are, others by integers of the same width: Key says which.
template <class Key> struct Wide { using Type = double; };
template <> struct Wide<int32_t> { using Type = int64_t; };
template <> struct Wide<int64_t> { using Type = int64_t; };

template <class Key> struct Workspace {
    using WideKey = typename Wide<Key>::Type;

    Square<Key> square;
    State<Key> keys;      // single, complete and approximate average linkage
    State<WideKey> wide;  // average and Ward linkage
    WideRows<Key> rows;
    Key *best, *mask, *edges;
    Slots<Key>* origin;
    float *near_inverse, *near_gone;
    double *inverse, *gone, *limit, *summary;
    int32_t *parent, *from, *to, *near, *low, *high;
    Edge<Key>* others;
    uint8_t* beside;

    Workspace(Cutter cut, const AtcJob& job, const AtcAmong* among, size_t* used = nullptr) : rows{square} {
        constexpr int W = Lanes<Key>::width;
        int tokens = (int)job.tokens, padded = (tokens + W - 1) / W * W;
        // An odd number of cache lines from row to row: powers of two would all fall into the same cache sets.
        constexpr int line = 64 / (int)sizeof(Key);
        int64_t stride = (int64_t)(((padded + line - 1) / line + 1) | 1) * line;
        int32_t* neighbour = cut.take<int32_t>(tokens);
        int32_t* seen = cut.take<int32_t>(tokens);
        int32_t* born = cut.take<int32_t>(tokens);
        Merge* log = cut.take<Merge>(tokens + replay_step);
        double* heights = cut.take<double>(tokens);
        keys = {tokens, queue<Key>(cut, tokens), neighbour, seen, born, log, heights, job.limit, job.forced};
        wide = {tokens, queue<WideKey>(cut, tokens), neighbour, seen, born, log, heights, job.limit,
                job.forced};
        square = {tokens, padded, stride, cut.take<Key>(stride * padded), cut.take<Key>(padded),
                  cut.take<Slot<Key>>(padded)};
        best = cut.take<Key>(padded);
        mask = cut.take<Key>(padded);
        edges = cut.take<Key>(padded);
        origin = cut.take<Slots<Key>>(padded / W);
        near_inverse = cut.take<float>(padded);
        near_gone = cut.take<float>(padded);
        parent = cut.take<int32_t>(tokens);
        from = cut.take<int32_t>(tokens);
        to = cut.take<int32_t>(tokens);
        near = cut.take<int32_t>(tokens);
        if (job.method == ATC_SINGLE) {
            low = cut.take<int32_t>(room(tokens));
            high = cut.take<int32_t>(room(tokens));
            others = cut.take<Edge<Key>>(room(tokens));
        }
        if (among) beside = cut.take<uint8_t>(Among<Key>::stride_for(tokens) * tokens);
        if (job.method >= ATC_AVERAGE || among) {
            rows.tokens = tokens;
            rows.padded = rows.padded_for(tokens);
            inverse = cut.take<double>(rows.padded);
            gone = cut.take<double>(rows.padded);
            limit = cut.take<double>(rows.padded);
            summary = cut.take<double>(rows.padded / 4);
            rows.row = cut.take<double*>(tokens);
            rows.spare = cut.take<double*>(tokens);
            rows.size = cut.take<double>(rows.padded);
            rows.pool = cut.take<double>((int64_t)rows.padded * tokens);  // last: its unused end is never touched
        }
        if (used) *used = cut.used;
    }
    // Edges that are at hand for single linkage; images have one or two for each token.
    static int room(int tokens) { return 16 * tokens + 64; }
    template <class K> static Queue<K> queue(Cutter& cut, int tokens) {
        int padded = Queue<K>::padded_for(tokens), blocks = Queue<K>::blocks_for(tokens);
        return {cut.take<K>(padded), cut.take<K>(blocks), padded, blocks};
    }
};

}  // namespace ATC_ISA

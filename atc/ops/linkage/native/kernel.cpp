// One image after another, for the instruction set this file is compiled for.
#include "careful.h"
#include "extremes.h"
#include "job.h"
#include "prim.h"
#include "sums.h"

namespace ATC_ISA {

// Cuts a workspace into arrays; with a null base it only adds up their sizes.
struct Cutter {
    char* base;
    size_t used = 0;

    template <class T> T* take(int64_t count) {
        T* array = base ? (T*)(base + used) : nullptr;
        used += (sizeof(T) * count + 63) / 64 * 64;
        return array;
    }
};

template <class Source> struct Workspace {
    Square<Source> square;
    State<Source> keys;         // single and complete linkage
    State<double> distances;    // average and Ward linkage of finite distances
    State<int64_t> any_values;  // the same of others
    WideRows<Source> wide;
    Source *mask, *origin, *scratch, *edges;
    double *inverse, *gone, *limit, *summary;
    int32_t *parent, *from, *to;

    Workspace(Cutter& cut, const AtcJob& job) : wide{square, 0, 0, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr} {
        constexpr int W = Lanes<Source>::width;
        int tokens = (int)job.tokens, padded = (tokens + W - 1) / W * W;
        // An odd number of cache lines from row to row: powers of two would all fall into the same cache sets.
        int64_t stride = padded + 64 / (int64_t)sizeof(Source);
        int32_t* neighbour = cut.take<int32_t>(tokens);
        int32_t* seen = cut.take<int32_t>(tokens);
        int32_t* born = cut.take<int32_t>(tokens);
        Merge* log = cut.take<Merge>(tokens);
        double* heights = cut.take<double>(tokens);
        keys = {tokens, queue<Source>(cut, tokens), neighbour, seen, born, log, heights};
        distances = {tokens, queue<double>(cut, tokens), neighbour, seen, born, log, heights};
        any_values = {tokens, queue<int64_t>(cut, tokens), neighbour, seen, born, log, heights};
        square = {tokens, padded, stride, cut.take<Source>(stride * padded), keys.nearest.key,
                  cut.take<Source>(padded), 0, 0};
        mask = cut.take<Source>(padded);
        origin = cut.take<Source>(padded);
        scratch = cut.take<Source>(padded);
        edges = cut.take<Source>(padded);
        parent = cut.take<int32_t>(tokens);
        from = cut.take<int32_t>(tokens);
        to = cut.take<int32_t>(tokens);
        if (job.method < ATC_AVERAGE) return;
        wide.tokens = tokens;
        wide.padded = wide.padded_for(tokens);
        inverse = cut.take<double>(wide.padded);
        gone = cut.take<double>(wide.padded);
        limit = cut.take<double>(wide.padded);
        summary = cut.take<double>(wide.padded / 4);
        wide.row = cut.take<double*>(tokens);
        wide.spare = cut.take<double*>(tokens);
        wide.size = cut.take<double>(wide.padded);
        wide.low_size = cut.take<double>(tokens);
        wide.high_size = cut.take<double>(tokens);
        wide.pool = cut.take<double>((int64_t)wide.padded * tokens);  // last: its unused end is never touched
    }
    template <class Key> static Queue<Key> queue(Cutter& cut, int tokens) {
        int padded = Queue<Key>::padded_for(tokens), blocks = Queue<Key>::blocks_for(tokens);
        return {cut.take<Key>(padded), cut.take<Key>(blocks), padded, blocks};
    }
};

// The bounds that the first pass found, as the keys that the rows compare by.
template <class Source, class Key, class Convert>
void start(const Square<Source>& square, State<Key>& state, Convert convert) {
    for (int k = 0; k < state.tokens; k++) {
        Source nearest = square.nearest[k];
        state.nearest.key[k] = nearest == Lanes<Source>::last ? Lanes<Key>::last : convert(nearest);
        state.neighbour[k] = (int32_t)square.neighbour[k];
    }
    for (int k = state.tokens; k < state.nearest.padded; k++) state.nearest.key[k] = Lanes<Key>::last;
    state.nearest.rebuild();
}

template <class Source, bool largest> Counters merge_extremes(Workspace<Source>& work, int keep) {
    start(work.square, work.keys, [](Source key) { return key; });
    Extremes<Source, largest> rows(work.square, work.mask);
    return merge_greedily(rows, work.keys, keep);
}

template <class Source, bool ward> Counters merge_wide(Workspace<Source>& work, int keep) {
    using L = Lanes<Source>;
    work.wide.reset();
    if (work.square.lowest < key_of<Source>(-L::largest) || work.square.highest > key_of<Source>(L::largest)) {
        start(work.square, work.any_values, [](Source key) { return key_of<int64_t>(height_of(key)); });
        Careful<Source, ward> rows(work.wide, work.parent);  // parents are written after merging
        return merge_greedily(rows, work.any_values, keep);
    }
    start(work.square, work.distances, [](Source key) { return height_of(key); });
    Sums<Source, ward> rows(work.wide, work.inverse, work.gone, work.limit, work.summary,
                            work.distances.nearest.key);
    return merge_greedily(rows, work.distances, keep);
}

// Prim costs the same for any `keep`; the greedy algorithm is faster where few merges are wanted.
inline bool prefers_tree(const AtcJob& job) {
    if (job.method != ATC_SINGLE || job.merges || job.keep == job.tokens) return false;
    return job.algorithm == ATC_PRIM || (job.algorithm == ATC_AUTOMATIC && job.keep * 5 < job.tokens * 4);
}

inline void number_labels(const int32_t* parent, int tokens, int32_t* root, int32_t* number, int64_t* labels) {
    for (int k = tokens - 1; k >= 0; k--) {  // parents are larger, so a root is known before its members
        root[k] = parent[k] == k ? k : root[parent[k]];
        number[k] = -1;
    }
    int32_t next = 0;
    for (int k = 0; k < tokens; k++) {
        int32_t& mine = number[root[k]];
        if (mine < 0) mine = next++;
        labels[k] = mine;
    }
}

template <class Source> void run_image(const AtcJob& job, Workspace<Source>& work, int64_t image) {
    int tokens = (int)job.tokens, keep = (int)job.keep, merges = tokens - keep;
    prepare((const Float<Source>*)job.distance + image * job.image_stride, job.row_stride, work.square);
    job.has_nan[image] = work.square.highest == Lanes<Source>::nan;
    Counters counters{};
    bool joined = false;
    if (prefers_tree(job)) {
        Tree<Source> tree{work.edges, work.from, work.to};
        span(work.square, work.scratch, work.origin, work.mask, tree);
        for (int k = 0; k < tokens; k++) work.parent[k] = k;
        joined = join_shortest(tree, tokens, merges, work.scratch, work.parent);
        counters = {merges, 0, (int64_t)tokens * tokens, 0};
    }
    if (!joined) {
        if (job.method == ATC_SINGLE) counters = merge_extremes<Source, false>(work, keep);
        else if (job.method == ATC_COMPLETE) counters = merge_extremes<Source, true>(work, keep);
        else if (job.method == ATC_AVERAGE) counters = merge_wide<Source, false>(work, keep);
        else counters = merge_wide<Source, true>(work, keep);
        for (int k = 0; k < tokens; k++) work.parent[k] = k;
        for (int t = 0; t < merges; t++) work.parent[work.keys.log[t].low] = work.keys.log[t].high;
    }
    number_labels(work.parent, tokens, work.from, work.to, job.labels + image * tokens);
    for (int t = 0; job.merges && t < merges; t++) {
        job.merges[(image * merges + t) * 2] = work.keys.log[t].low;
        job.merges[(image * merges + t) * 2 + 1] = work.keys.log[t].high;
        job.heights[image * merges + t] = work.keys.heights[t];
    }
    if (job.counters) memcpy(job.counters + image * 4, &counters, sizeof counters);
}

template <class Source> void run_images(const AtcJob& job, void* memory) {
    Cutter cut{(char*)memory};
    Workspace<Source> work(cut, job);
    for (int64_t image = 0; image < job.images; image++) run_image(job, work, image);
}

size_t workspace_size(const AtcJob& job) {
    Cutter cut{nullptr};
    if (job.is_double) Workspace<int64_t>(cut, job);
    else Workspace<int32_t>(cut, job);
    return cut.used;
}

void run(const AtcJob& job, void* memory) {
    if (job.is_double) run_images<int64_t>(job, memory);
    else run_images<int32_t>(job, memory);
}

}  // namespace ATC_ISA

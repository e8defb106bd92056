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
    State<Source> state;      // single and complete
    State<int64_t> sums;      // average and Ward, which compare float64
    Source *mask, *origin, *scratch, *edges;
    double *pool = nullptr, *size = nullptr, *inverse = nullptr, *gone = nullptr;
    double** row = nullptr;
    double** spare = nullptr;
    double *low_size = nullptr, *high_size = nullptr;
    int32_t *parent, *from, *to;

    Workspace(Cutter& cut, const AtcJob& job) {
        constexpr int W = Lanes<Source>::width;
        int tokens = (int)job.tokens, padded = (tokens + W - 1) / W * W;
        // An odd number of cache lines from row to row: powers of two would all fall into the same cache sets.
        int64_t stride = padded + 64 / (int64_t)sizeof(Source);
        square = {tokens, padded, stride, cut.take<Source>(stride * padded), cut.take<Source>(padded),
                  cut.take<Source>(padded), 0, 0};
        int32_t* seen = cut.take<int32_t>(tokens);
        int32_t* born = cut.take<int32_t>(tokens);
        Merge* log = cut.take<Merge>(tokens);
        double* heights = cut.take<double>(tokens);
        state = {tokens, padded, square.nearest, square.neighbour, seen, born, log, heights, {}};
        mask = cut.take<Source>(padded);
        origin = cut.take<Source>(padded);
        scratch = cut.take<Source>(padded);
        edges = cut.take<Source>(padded);
        parent = cut.take<int32_t>(tokens);
        from = cut.take<int32_t>(tokens);
        to = cut.take<int32_t>(tokens);
        if (job.method != ATC_AVERAGE && job.method != ATC_WARD) return;
        int wide = (tokens + 3) / 4 * 4;
        int64_t* nearest = cut.take<int64_t>(wide);
        int64_t* neighbour = cut.take<int64_t>(wide);
        sums = {tokens, wide, nearest, neighbour, seen, born, log, heights, {}};
        size = cut.take<double>(wide);
        inverse = cut.take<double>(wide);
        gone = cut.take<double>(wide);
        row = cut.take<double*>(tokens);
        spare = cut.take<double*>(tokens);
        low_size = cut.take<double>(tokens);
        high_size = cut.take<double>(tokens);
        pool = cut.take<double>((int64_t)wide * tokens);  // last, so that its unused end is never touched
    }
};

template <class Source, bool largest> int merge_extremes(Workspace<Source>& work, int keep) {
    Extremes<Source, largest> rows(work.square, work.mask);
    return merge_greedily(rows, work.state, keep);
}

template <class Source> int merge_sums(Workspace<Source>& work, int keep, bool ward) {
    State<int64_t>& state = work.sums;
    for (int k = 0; k < state.padded; k++) {
        bool real = k < state.tokens && work.square.nearest[k] != Lanes<Source>::last;
        state.nearest[k] =
            real ? key_of<int64_t>((double)value_of(work.square.nearest[k])) : Lanes<int64_t>::last;
        state.neighbour[k] = real ? work.square.neighbour[k] : 0;
    }
    WideRows<Source> wide(work.square, work.pool, work.row, work.spare, work.size);
    int32_t* alive = work.parent;  // parents are written after merging
    if (ward) {
        Careful<Source, true> rows(wide, alive, state, work.low_size, work.high_size);
        return merge_greedily(rows, state, keep);
    }
    using L = Lanes<Source>;
    if (work.square.lowest < key_of<Source>(-L::largest) || work.square.highest > key_of<Source>(L::largest)) {
        Careful<Source, false> rows(wide, alive, state, work.low_size, work.high_size);
        return merge_greedily(rows, state, keep);
    }
    Sums<Source> rows(wide, work.inverse, work.gone);
    return merge_greedily(rows, state, keep);
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
    work.state.counters = work.sums.counters = {};
    const Counters* counters = job.method < ATC_AVERAGE ? &work.state.counters : &work.sums.counters;

    bool joined = false;
    if (prefers_tree(job)) {
        Tree<Source> tree{work.edges, work.from, work.to};
        span(work.square, work.scratch, work.origin, work.mask, tree);
        for (int k = 0; k < tokens; k++) work.parent[k] = k;
        joined = join_shortest(tree, tokens, merges, work.scratch, work.parent);
        work.state.counters.cells = (int64_t)tokens * tokens;
        work.state.counters.merges = joined ? merges : 0;
    }
    if (!joined) {
        if (job.method == ATC_SINGLE) merge_extremes<Source, false>(work, keep);
        else if (job.method == ATC_COMPLETE) merge_extremes<Source, true>(work, keep);
        else merge_sums(work, keep, job.method == ATC_WARD);
        for (int k = 0; k < tokens; k++) work.parent[k] = k;
        for (int t = 0; t < merges; t++) work.parent[work.state.log[t].low] = work.state.log[t].high;
    }
    number_labels(work.parent, tokens, work.from, work.to, job.labels + image * tokens);
    for (int t = 0; job.merges && t < merges; t++) {
        job.merges[(image * merges + t) * 2] = work.state.log[t].low;
        job.merges[(image * merges + t) * 2 + 1] = work.state.log[t].high;
        job.heights[image * merges + t] = work.state.heights[t];
    }
    if (job.counters) memcpy(job.counters + image * 4, counters, sizeof *counters);
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

// One image after another, for the instruction set this file is compiled for.
#include "careful.h"
#include "job.h"
#include "average_float32.h"
#include "single_boruvka.h"
#include "average_ward.h"
#include "workspace.h"

namespace ATC_ISA {

// The bounds that the first pass found, as the keys that the rows compare by.
template <class From, class Key> void start(const Square<From>& square, State<Key>& state) {
    for (int k = 0; k < state.tokens; k++) {
        From nearest = square.nearest[k];
        if constexpr (Lanes<From>::width == Lanes<Key>::width) state.nearest.key[k] = nearest;
        else if (nearest == Lanes<From>::last) state.nearest.key[k] = Lanes<Key>::last;
        else state.nearest.key[k] = key_from(height_of(nearest), Key());
        state.neighbour[k] = (int32_t)square.neighbour[k];
    }
    for (int k = state.tokens; k < state.nearest.padded; k++) state.nearest.key[k] = Lanes<Key>::last;
    state.nearest.rebuild();
}

template <class Key, bool largest> Counters merge_extremes(Workspace<Key>& work, int keep) {
    start(work.square, work.keys);
    Extremes<Key, largest> rows(work.square, work.mask);
    return merge_greedily(rows, work.keys, keep);
}

template <class Key, bool ward> Counters merge_wide(Workspace<Key>& work, int keep) {
    work.rows.reset();
    start(work.square, work.wide);
    if constexpr (Lanes<Key>::integers) {
        Careful<Key, ward> rows(work.rows, work.parent);  // parents are written after merging
        return merge_greedily(rows, work.wide, keep);
    } else {
        Sums<Key, ward> rows(work.rows, work.inverse, work.gone, work.limit, work.summary, work.wide.nearest.key);
        return merge_greedily(rows, work.wide, keep);
    }
}

// A tree gives labels, but no order of merging. Prim's algorithm costs the same for any `keep`, which is too much for few
// merges.
inline bool prefers_tree(const AtcJob& job) {
    if (job.method != ATC_SINGLE || job.merges || job.keep == job.tokens) return false;
    return job.algorithm == ATC_PRIM || (job.algorithm == ATC_AUTOMATIC && job.keep * 3 < job.tokens * 2);
}
inline bool prefers_shortest(const AtcJob& job) {
    return job.method == ATC_SINGLE && !job.merges && job.algorithm == ATC_AUTOMATIC && job.keep < job.tokens &&
           job.keep * 20 >= job.tokens * 9;
}

inline void number_labels(const int32_t* parent, int tokens, int32_t* root, int32_t* number, int64_t* labels) {
    for (int k = 0; k < tokens; k++) {
        root[k] = k;
        number[k] = -1;
    }
    for (int k = tokens - 1; k >= 0; k--) root[k] = root[parent[k]];  // a parent is larger: its root is known
    int32_t next = 0;
    for (int k = 0; k < tokens; k++) {
        int32_t& mine = number[root[k]];
        int32_t is_new = mine < 0;
        mine = is_new ? next : mine;
        next += is_new;
        labels[k] = mine;
    }
}

// Average linkage of finite float32 distances; false if it takes float64 sums.
inline bool merge_approximately(const AtcJob& job, const float* image, Workspace<float>& work, Counters& counters) {
    start(work.square, work.keys);
    float least = work.keys.nearest.key[work.keys.nearest.first()];
    Means rows{work.square, image, job.row_stride, work.near_inverse, work.near_gone, work.from, work.to,
               work.parent, work.near, least < 0 ? -2.0 * least : 0, job.tokens * job.tokens / 4};
    rows.reset();
    return merge_means(rows, work.keys, (int)job.keep, counters);
}
inline bool merge_approximately(const AtcJob&, const double*, Workspace<double>&, Counters&) { return false; }

template <class Key> Counters merge(const AtcJob& job, const Real<Key>* image, Workspace<Key>& work) {
    int keep = (int)job.keep;
    if (job.method == ATC_SINGLE) return merge_extremes<Key, false>(work, keep);
    if (job.method == ATC_COMPLETE) return merge_extremes<Key, true>(work, keep);
    if (job.method == ATC_WARD) return merge_wide<Key, true>(work, keep);
    Counters counters{};
    if constexpr (!Lanes<Key>::integers) {
        // Heights go with merges, and take float64 sums.
        bool approximate = !job.merges && job.algorithm == ATC_AUTOMATIC && sizeof(Key) == 4;
        if (approximate && merge_approximately(job, image, work, counters)) return counters;
        if (approximate) prepare(image, job.row_stride, work.square);
        counters.restarts = approximate;
    }
    int64_t restarts = counters.restarts;
    counters = merge_wide<Key, false>(work, keep);
    counters.restarts = restarts;
    return counters;
}

template <class Key>
void write_labels(const AtcJob& job, Workspace<Key>& work, int64_t number, const Counters& counters) {
    number_labels(work.parent, (int)job.tokens, work.from, work.to, job.labels + number * job.tokens);
    if (job.counters) memcpy(job.counters + number * 6, &counters, sizeof counters);
}

// What the log of merges says.
template <class Key> void write(const AtcJob& job, Workspace<Key>& work, int64_t number, const Counters& counters) {
    int tokens = (int)job.tokens, merges = tokens - (int)job.keep;
    for (int t = (int)counters.merges; t < merges; t++) {
        work.keys.log[t] = {tokens - 1, tokens - 1};
        work.keys.heights[t] = INFINITY;
    }
    for (int k = 0; k < tokens; k++) work.parent[k] = k;
    for (int t = 0; t < merges; t++) work.parent[work.keys.log[t].low] = work.keys.log[t].high;
    write_labels(job, work, number, counters);
    for (int t = 0; job.merges && t < merges; t++) {
        job.merges[(number * merges + t) * 2] = work.keys.log[t].low;
        job.merges[(number * merges + t) * 2 + 1] = work.keys.log[t].high;
        job.heights[number * merges + t] = work.keys.heights[t];
    }
}

template <class Key> void cluster(const AtcJob& job, const Real<Key>* image, Workspace<Key>& work, int64_t number) {
    int tokens = (int)job.tokens, merges = tokens - (int)job.keep;
    if (prefers_tree(job)) {
        Tree<Key> tree{work.edges, work.from, work.to};
        span(work.square, work.best, work.origin, work.mask, tree);
        for (int k = 0; k < tokens; k++) work.parent[k] = k;
        if (join_shortest(tree, tokens, merges, work.best, work.parent)) {
            write_labels(job, work, number, {merges, 0, (int64_t)tokens * tokens, 0, 0, 0});
            return;
        }
    }
    write(job, work, number, merge(job, image, work));
}

// The image after this one, if both its distances and the workspace fit the cache.
template <class Value> const Value* after(const AtcJob& job, const Value* image, int64_t number) {
    bool small = job.tokens * job.tokens * (int64_t)sizeof(Value) <= 1 << 20;
    return small && number + 1 < job.images ? image + job.image_stride : nullptr;
}

// False where distances are equal, infinite or NaN, so that the tree does not decide.
template <class Value> bool cluster_few(const AtcJob& job, const Value* image, Workspace<Value>& work, int64_t number) {
    int tokens = (int)job.tokens, merges = tokens - (int)job.keep;
    Square<Value>& square = work.square;
    NearestDistances<Value>{image, job.row_stride, tokens, square.padded, square.nearest, work.mask}.find();
    Shortest<Value> shortest{image, job.row_stride, tokens, square.padded, square.nearest, work.mask,
                             {work.edges, work.from, work.to}, work.low, work.high, work.others, work.room(tokens),
                             work.best, work.keys.born, work.keys.seen, work.near, work.parent};
    if (!span_shortest(shortest, merges) || !shortest.join(merges)) return false;
    write_labels(job, work, number, {merges, 0, shortest.cells, 0, 0, 0});
    return true;
}

template <class Value, class Key>
void cluster_among(const AtcJob& job, const AtcAmong& among, const Value* image, Workspace<Key>& work, int64_t number) {
    int tokens = (int)job.tokens;
    prepare(image, job.row_stride, work.square);
    work.rows.reset();
    Among<Key> rows{work.rows, work.beside, Among<Key>::stride_for(tokens), job.method, among.once != 0};
    rows.read(among.neighbours + number * tokens * tokens);
    write(job, work, number, merge_among(rows, work.wide, (int)job.keep));
}

template <class Value, class Key> void run_images(const AtcJob& job, const AtcAmong* among, void* memory) {
    Workspace<Value> finite({(char*)memory}, job, among);
    Workspace<Key> safe({(char*)memory}, job, among);  // in its place
    for (int64_t number = 0; among && number < job.images; number++)
        cluster_among(job, *among, (const Value*)job.distance + number * job.image_stride, safe, number);
    if (among) return;
    for (int64_t number = 0; number < job.images; number++) {
        const Value* image = (const Value*)job.distance + number * job.image_stride;
        finite.keys.ahead = finite.wide.ahead =
            Ahead(after(job, image, number), job.row_stride, job.tokens, job.tokens - job.keep);
        if (prefers_shortest(job) && cluster_few(job, image, finite, number)) continue;
        if (within_range(prepare(image, job.row_stride, finite.square), finite.square)) {
            cluster(job, image, finite, number);
        } else {
            prepare(image, job.row_stride, safe.square);
            cluster(job, image, safe, number);
        }
    }
}

size_t workspace_size(const AtcJob& job, const AtcAmong* among) {
    size_t used;
    if (job.is_double) Workspace<double>({nullptr}, job, among, &used);
    else Workspace<float>({nullptr}, job, among, &used);
    return used;
}

void run(const AtcJob& job, const AtcAmong* among, void* memory) {
    if (job.is_double) run_images<double, int64_t>(job, among, memory);
    else run_images<float, int32_t>(job, among, memory);
}

}  // namespace ATC_ISA

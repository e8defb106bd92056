// Hard inputs for the sanitizers. The including file says how they are clustered: `cluster(job, method, is_double,
// blocks, block_threads, left_out)`. Without arguments the program runs them, and prints how many runs
// disagreed with a single warp; with "barriers" it lists where threads wait; with "file:line" it leaves out that wait,
// which must be noticed.
#pragma once
#include "emulated.h"

enum { KINDS = 7 };

struct Output {
    std::vector<i64> labels, merges, counters;
    std::vector<double> heights;
    bool operator==(const Output& o) const {
        bool same = labels == o.labels && merges == o.merges && counters == o.counters;
        for (size_t t = 0; t < heights.size(); t++) same &= bits_of(heights[t]) == bits_of(o.heights[t]);
        return same;
    }
};

template <class Input> std::vector<Input> distances(i64 tokens, int kind) {
    std::vector<Input> made(tokens * tokens);
    uint64_t state = uint64_t(kind * 1000 + tokens);
    auto next = [&] {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return double(state >> 40) / 16777216;  // of 24 bits: the sums are exact
    };
    for (Input& value : made) {
        const double u = next();
        value = Input(u);
        if (kind == 1) value = Input(std::floor(4 * u));
        if (kind == 2) value = Input(0.5);
        if (kind == 3) value = Input(std::exp(60 * u - 30));  // the sums are not exact
        if (kind == 4 && u < 0.3) value = Input(u < 0.1 ? INFINITY : u < 0.2 ? -INFINITY : NAN);
        if (kind == 5) value = std::numeric_limits<Input>::max();
    }
    if (kind == 6)  // each token is the same as every third one
        for (i64 i = 0; i < tokens; i++)
            for (i64 j = 0; j < tokens; j++) made[i * tokens + j] = Input(i % 3 == j % 3 ? 0.25 : i % 3 + j % 3);
    return made;
}

template <class Input>
Output run(i64 tokens, i64 keep, int kind, int method, bool merges, int blocks, int block_threads,
           const std::string& left_out, Waits& waits) {
    const i64 images = 2, needed = images * (tokens - keep);  // the second image takes the memory of the first
    std::vector<Input> distance = distances<Input>(tokens, kind);
    const std::vector<Input> second = distances<Input>(tokens, (kind + 1) % KINDS);
    distance.insert(distance.end(), second.begin(), second.end());
    Output out;
    out.labels.resize(images * tokens);
    out.merges.resize(merges ? 2 * needed : 0);
    out.heights.resize(merges ? needed : 0);
    out.counters.resize(images * 4);
    Job job{};
    job.distance = distance.data();
    job.labels = out.labels.data();
    job.merges = merges ? out.merges.data() : nullptr;
    job.heights = merges ? out.heights.data() : nullptr;
    job.counters = out.counters.data();
    job.image_stride = tokens * tokens;
    job.row_stride = tokens;
    job.column_stride = 1;
    job.tokens = tokens;
    job.keep = keep;
    job.images = images;
    const Waits found = cluster(job, method, sizeof(Input) == 8, blocks, block_threads, left_out);
    waits.insert(found.begin(), found.end());
    return out;
}

// Every input by a team of the given shape and by one warp. `labels_only`: labels alone are found in another way.
inline int run_all(const std::string& wish, int blocks, int block_threads, bool labels_only) {
    const bool listing = wish == "barriers";
    Waits waits;
    int wrong = 0, runs = 0;
    for (i64 tokens : {1, 2, 5, 12, 21})
        for (int kind = 0; kind < KINDS; kind++)
            for (int method = SINGLE; method <= WARD; method++)
                for (i64 keep : {i64(1), (tokens + 1) / 2, tokens})
                    for (bool merges : {true, false}) {
                        if (!merges && (!labels_only || method != SINGLE)) continue;
                        const bool wide = (kind + method) % 2;
                        auto image = [&](int blocks, int threads) {
                            return wide ? run<double>(tokens, keep, kind, method, merges, blocks, threads, wish, waits)
                                        : run<float>(tokens, keep, kind, method, merges, blocks, threads, wish, waits);
                        };
                        wrong += !(image(blocks, block_threads) == image(1, ATC_LANES));
                        runs++;
                        if (wrong && !listing && !wish.empty()) goto noticed;
                    }
noticed:
    if (listing)
        for (const std::string& wait : waits) printf("%s\n", wait.c_str());
    else
        printf("%d runs, %d disagreements\n", runs, wrong);
    return wrong != 0;
}

// Runs the clustering kernel on hard inputs, in buffers of exactly the size it may touch, from several threads.
// Compiled with a sanitizer, which does the checking; in addition all threads must agree.
#include <cmath>
#include <cstdio>
#include <limits>
#include <thread>
#include <vector>

#include "centres.h"
#include "job.h"
#include "merge.h"

extern "C" int atc_linkage(const AtcJob*, int);
extern "C" int atc_centres(const AtcCentres*, int);
extern "C" int atc_merge(const AtcMerge*, int);

namespace {

struct Random {
    uint64_t state;
    double next() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return double(state >> 11) / 9007199254740992.0;
    }
};

template <class T> std::vector<T> distances(int64_t images, int64_t tokens, int kind) {
    std::vector<T> d(images * tokens * tokens);
    Random random{uint64_t(kind * 1000 + tokens)};
    for (T& value : d) {
        double u = random.next();
        value = T(u);
        if (kind == 1) value = T(std::floor(4 * u));
        if (kind == 2) value = T(0.5);
        if (kind == 3) value = T(std::exp(60 * u - 30) * (random.next() < 0.3 ? -1 : 1));
        if (kind == 4 && u < 0.3) value = u < 0.1 ? T(INFINITY) : u < 0.2 ? T(-INFINITY) : T(NAN);
        if (kind == 5) value = std::numeric_limits<T>::max();
    }
    return d;
}

struct Output {
    std::vector<int64_t> labels, merges, counters;
    std::vector<double> heights;
    bool operator==(const Output& o) const {
        bool same = labels == o.labels && merges == o.merges && counters == o.counters;
        for (size_t t = 0; t < heights.size(); t++)
            same &= heights[t] == o.heights[t] || (heights[t] != heights[t] && o.heights[t] != o.heights[t]);
        return same;
    }
};

template <class T> Output run(const std::vector<T>& d, int64_t images, int64_t tokens, int64_t keep, int method,
                              bool merges, double limit = INFINITY) {
    Output out;
    out.labels.resize(images * tokens);
    out.merges.resize(images * (tokens - keep) * 2);
    out.heights.resize(images * (tokens - keep));
    out.counters.resize(images * 6);
    AtcJob job{};
    job.limit = limit;
    job.distance = d.data();
    job.image_stride = tokens * tokens;
    job.row_stride = tokens;
    job.images = images;
    job.tokens = tokens;
    job.keep = keep;
    job.is_double = sizeof(T) == 8;
    job.method = method;
    job.labels = out.labels.data();
    job.merges = merges ? out.merges.data() : nullptr;
    job.heights = merges ? out.heights.data() : nullptr;
    job.counters = out.counters.data();
    if (atc_linkage(&job, 0)) out.labels.clear();
    return out;
}

template <class T> int check(int64_t tokens, int kind) {
    const int64_t images = 2;
    int wrong = 0;
    std::vector<T> d = distances<T>(images, tokens, kind);
    for (int method = ATC_SINGLE; method <= ATC_WARD; method++)
        for (int64_t keep : {int64_t(1), tokens / 2, tokens - 1, tokens})
            for (bool merges : {true, false}) {
                if (keep < 1 || keep > tokens) continue;
                Output alone = run(d, images, tokens, keep, method, merges);
                wrong += alone.labels.empty();
                if (merges) wrong += run(d, images, tokens, keep, method, merges, 0.3).labels.empty();
                std::vector<Output> others(3);
                std::vector<std::thread> threads;
                for (Output& other : others)
                    threads.emplace_back([&] { other = run(d, images, tokens, keep, method, merges); });
                for (std::thread& thread : threads) thread.join();
                for (const Output& other : others) wrong += !(alone == other);
            }
    return wrong;
}

// Every task, twice: what was written must be the same.
template <class T> int check_centres(int64_t tokens, int kind) {
    const int64_t images = 2;
    int wrong = 0;
    const std::vector<T> d = distances<T>(images, tokens, kind), weight(d.begin(), d.begin() + images * tokens);
    for (int64_t count : {int64_t(1), (tokens + 1) / 2, tokens})
        for (int task = ATC_MEDOIDS; task <= ATC_DENSER; task++) {
            std::vector<int64_t> centres[2], labels[2];
            std::vector<T> values[2];
            for (int turn : {0, 1}) {
                for (int64_t k = 0; k < images * count; k++) centres[turn].push_back(k % count);
                labels[turn].resize(images * tokens);
                values[turn].resize(images * tokens * (task == ATC_SMALLEST ? count : 1));
                std::vector<int64_t> scratch(2 * tokens + 1);
                const AtcCentres job{d.data(), tokens * tokens, tokens, images, tokens, count, 3, sizeof(T) == 8, task,
                                     weight.data(), centres[turn].data(), labels[turn].data(), values[turn].data(),
                                     scratch.data()};
                wrong += atc_centres(&job, 0) != 0;
            }
            wrong += centres[0] != centres[1] || labels[0] != labels[1] || values[0] != values[1];
        }
    return wrong;
}

template <class T> int check_merge(int64_t tokens, int64_t channels) {
    const int64_t images = 2, prefix = 1, groups = 3;
    const std::vector<T> x(images * (prefix + tokens) * channels, T(2)), weight(images * tokens, T(1));
    std::vector<int64_t> labels;
    for (int64_t at = 0; at < images * tokens; at++) labels.push_back(at % (groups + 1) - 1);
    int wrong = 0;
    for (int kind = 0; kind < 8; kind++) {
        std::vector<T> out(images * (prefix + groups) * channels), sizes(images * groups), totals(images * groups);
        const bool weighed = kind & 1, sized = kind & 2, average = kind & 4;
        AtcMerge job{x.data(), (prefix + tokens) * channels, channels, images, prefix, tokens, channels, groups,
                     sizeof(T) == 8, average, 1, 0, 0.0, labels.data(), weighed ? weight.data() : nullptr,
                     sized ? weight.data() : nullptr, out.data(), sized ? sizes.data() : nullptr,
                     average ? totals.data() : nullptr};
        wrong += atc_merge(&job, 0) != 0;
        for (int64_t c = 0; c < channels; c++) wrong += out[c] != 2;
        labels.back() += groups;  // out of range, unless it was dropped
        const bool bad = labels.back() >= groups;
        wrong += atc_merge(&job, 0) != (bad ? 3 : 0);
        labels.back() -= groups;
    }
    return wrong;
}

}  // namespace

int main() {
    int wrong = 0, cases = 0;
    for (int64_t tokens : {1, 2, 4, 7, 8, 9, 33, 70})
        for (int kind = 0; kind < 6; kind++, cases++) {
            wrong += check<float>(tokens, kind) + check<double>(tokens, kind);
            if (kind < 3) wrong += check_centres<float>(tokens, kind) + check_centres<double>(tokens, kind);
        }
    for (int64_t tokens : {1, 4, 9}) wrong += check_merge<float>(tokens, 5) + check_merge<double>(tokens, 19);
    AtcJob bad{};
    bad.limit = INFINITY;
    bad.tokens = 3;
    wrong += atc_linkage(&bad, 0) != 2;
    const AtcCentres nothing{};
    wrong += atc_centres(&nothing, 0) != 2;
    printf("%d matrices, %d disagreements\n", cases, wrong);
    return wrong != 0;
}

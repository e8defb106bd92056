// Runs the clustering kernel on hard inputs, in buffers of exactly the size it may touch, from several threads.
// Compiled with a sanitizer, which does the checking; in addition all threads must agree.
#include <cmath>
#include <cstdio>
#include <limits>
#include <thread>
#include <vector>

#include "centres.h"
#include "job.h"

extern "C" int atc_linkage(const AtcJob*, int);
extern "C" int atc_centres(const AtcCentres*, int);

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

}  // namespace

int main() {
    int wrong = 0, cases = 0;
    for (int64_t tokens : {1, 2, 4, 7, 8, 9, 33, 70})
        for (int kind = 0; kind < 6; kind++, cases++) {
            wrong += check<float>(tokens, kind) + check<double>(tokens, kind);
            if (kind < 3) wrong += check_centres<float>(tokens, kind) + check_centres<double>(tokens, kind);
        }
    AtcJob bad{};
    bad.limit = INFINITY;
    bad.tokens = 3;
    wrong += atc_linkage(&bad, 0) != 2;
    const AtcCentres nothing{};
    wrong += atc_centres(&nothing, 0) != 2;
    printf("%d matrices, %d disagreements\n", cases, wrong);
    return wrong != 0;
}

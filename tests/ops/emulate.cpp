// The block algorithm of the cuda backend on a CPU: a std::thread for each thread of a block, and a barrier for
// __syncthreads. ATC_LANES is the width of a warp. What its lanes tell each other goes through relaxed atomics, which
// order no other memory, as shuffles on a GPU do not: ThreadSanitizer sees lanes that rely on more.
//
// A shared library for the tests (`emulate`), and a program for the sanitizers (-DATC_PROGRAM): without arguments
// it runs hard inputs and prints how many blocks disagreed with a block of one warp; with "barriers" it lists the
// lines that hold one; with a number it leaves out the barriers of that line, which ThreadSanitizer must notice.
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#define ATC_DEVICE inline

typedef uint32_t u32;
typedef unsigned long long u64;
typedef long long i64;
typedef uint16_t u16;

template <class To, class From> To same_bits(From from) {
    To to;
    static_assert(sizeof to == sizeof from);
    memcpy(&to, &from, sizeof to);
    return to;
}
inline u32 bits_of(float value) { return same_bits<u32>(value); }
inline u64 bits_of(double value) { return same_bits<u64>(value); }
inline float float_of(u32 bits) { return same_bits<float>(bits); }
inline double double_of(u64 bits) { return same_bits<double>(bits); }
inline u32 trailing_zeros(u32 value) { return u32(__builtin_ctz(value)); }
inline u32 trailing_zeros(u64 value) { return u32(__builtin_ctzll(value)); }

#include "block.h"

namespace {

struct Team {
    int threads, left_out;  // the line of a barrier, or 0
    std::set<int> barriers;
    std::vector<u64> told[2];  // by each thread, at even and odd turns: the turn, and 32 bits
    std::barrier<> all;

    Team(int threads, int left_out) : threads(threads), left_out(left_out), all(threads) {
        for (std::vector<u64>& turn : told) turn.resize(threads);
    }
};

struct EmulatedThread {
    enum { LANES = ATC_LANES };
    Team& team;
    const int index, threads, lane, warp, warps;
    mutable u32 turn = 0;

    EmulatedThread(Team& team, int index)
        : team(team), index(index), threads(team.threads), lane(index % LANES), warp(index / LANES),
          warps(team.threads / LANES) {}

    void sync(int line = __builtin_LINE()) const {
        if (index == 0) team.barriers.insert(line);
        if (line != team.left_out) team.all.arrive_and_wait();
    }
    u32 atomic_add(u32* to, u32 value) const { return __atomic_fetch_add(to, value, __ATOMIC_RELAXED); }
    void atomic_min(u32* to, u32 value) const {
        u32 old = __atomic_load_n(to, __ATOMIC_RELAXED);
        const int relaxed = __ATOMIC_RELAXED;
        while (value < old && !__atomic_compare_exchange_n(to, &old, value, false, relaxed, relaxed)) {
        }
    }

    template <class Join> u32 together(u32 value, u32 result, Join join) const {
        std::vector<u64>& told = team.told[++turn % 2];
        __atomic_store_n(&told[index], u64(turn) << 32 | value, __ATOMIC_RELAXED);
        for (int other = 0; other < LANES; other++) {
            u64 heard;
            while ((heard = __atomic_load_n(&told[warp * LANES + other], __ATOMIC_RELAXED)) >> 32 != turn)
                std::this_thread::yield();
            result = join(result, u32(heard), other);
        }
        return result;
    }
    u32 least(u32 value) const {
        return together(value, ~0u, [](u32 a, u32 b, int) { return b < a ? b : a; });
    }
    u32 ballot(bool value) const {
        return together(value, 0, [](u32 lanes, u32 b, int other) { return lanes | b << other; });
    }
    int count(u32 lanes) const { return __builtin_popcount(lanes); }
    int count_below(u32 lanes) const { return __builtin_popcount(lanes & ((1u << lane) - 1)); }
};

template <class L> std::set<int> blocks(const Job& job, i64 images, int threads, size_t shared, int left_out) {
    std::set<int> barriers;
    for (i64 image = 0; image < images; image++) {
        std::unique_ptr<unsigned char[]> memory(new unsigned char[shared]);  // not a byte more than the block may touch
        memset(memory.get(), 0xA5, shared);
        Team team(threads, left_out);
        auto work = [&](int index) {
            EmulatedThread thread(team, index);
            Block<L, EmulatedThread>(thread, job, image, memory.get()).run();
            team.all.arrive_and_drop();  // without all barriers, others may still wait for this thread
        };
        std::vector<std::thread> others;
        for (int index = 1; index < threads; index++) others.emplace_back(work, index);
        work(0);
        for (std::thread& other : others) other.join();
        barriers.insert(team.barriers.begin(), team.barriers.end());
    }
    return barriers;
}

template <class Input>
std::set<int> blocks_of(const Job& job, i64 images, int method, int threads, size_t shared, int left_out) {
    if (method == SINGLE) return blocks<Linkage<SINGLE, Input>>(job, images, threads, shared, left_out);
    if (method == COMPLETE) return blocks<Linkage<COMPLETE, Input>>(job, images, threads, shared, left_out);
    if (method == AVERAGE) return blocks<Linkage<AVERAGE, Input>>(job, images, threads, shared, left_out);
    return blocks<Linkage<WARD, Input>>(job, images, threads, shared, left_out);
}

}  // namespace

extern "C" i64 shared_bytes(i64 tokens, i64 width) {
    return width * (tokens * (tokens - 1) / 2 + 2 * tokens) + 16 * tokens + 32;
}

#ifndef ATC_PROGRAM

extern "C" void emulate(const Job* job, i64 images, int method, int is_double, int threads, i64 shared) {
    if (is_double) blocks_of<double>(*job, images, method, threads, size_t(shared), 0);
    else blocks_of<float>(*job, images, method, threads, size_t(shared), 0);
}

#else

namespace {

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
    return made;
}

template <class Input>
Output run(i64 tokens, i64 keep, int kind, int method, int threads, int left_out, std::set<int>& barriers) {
    const i64 images = 1, needed = tokens - keep;
    const std::vector<Input> distance = distances<Input>(tokens, kind);
    Output out;
    out.labels.resize(tokens);
    out.merges.resize(2 * needed);
    out.heights.resize(needed);
    out.counters.resize(4);
    Job job{};
    job.distance = distance.data();
    job.labels = out.labels.data();
    job.merges = out.merges.data();
    job.heights = out.heights.data();
    job.counters = out.counters.data();
    job.row_stride = tokens;
    job.column_stride = 1;
    job.tokens = tokens;
    job.keep = keep;
    const i64 shared = shared_bytes(tokens, method <= COMPLETE ? sizeof(Input) : 8);
    const std::set<int> found = blocks_of<Input>(job, images, method, threads, size_t(shared), left_out);
    barriers.insert(found.begin(), found.end());
    return out;
}

}  // namespace

int main(int count, char** arguments) {
    const std::string wish = count > 1 ? arguments[1] : "";
    const int left_out = atoi(wish.c_str());
    std::set<int> barriers;
    int wrong = 0, blocks = 0;
    for (i64 tokens : {1, 2, 5, 12, 21})
        for (int kind = 0; kind < 6; kind++)
            for (int method = SINGLE; method <= WARD; method++)
                for (i64 keep : {i64(1), (tokens + 1) / 2, tokens}) {
                    const bool wide = (kind + method) % 2;
                    auto block = [&](int threads) {
                        return wide ? run<double>(tokens, keep, kind, method, threads, left_out, barriers)
                                    : run<float>(tokens, keep, kind, method, threads, left_out, barriers);
                    };
                    wrong += !(block(3 * ATC_LANES) == block(ATC_LANES));
                    blocks++;
                }
    if (wish == "barriers")
        for (int line : barriers) printf("%d\n", line);
    else
        printf("%d blocks, %d disagreements\n", blocks, wrong);
    return wrong != 0;
}

#endif

// Threads of a GPU on a CPU: a std::thread for each, and barriers for __syncthreads and for blocks that wait for each
// other. ATC_LANES is the width of a warp. What its lanes tell each other goes through relaxed atomics, which order no
// other memory, as shuffles on a GPU do not: ThreadSanitizer sees lanes that rely on more.
#pragma once
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

#include "cells.h"
#include "job.h"

typedef std::set<std::string> Waits;  // as "file:line"

struct Team {
    const int blocks, threads;   // threads of all blocks together
    const std::string left_out;  // "file:line" of a wait, or nothing
    Waits waits;
    std::vector<u64> told[2];  // by each thread, at even and odd turns: the turn, and 32 bits
    std::vector<u64> scratch;  // of each warp
    std::barrier<> all;
    std::vector<std::unique_ptr<std::barrier<>>> block;

    Team(int blocks, int block_threads, const std::string& left_out)
        : blocks(blocks), threads(blocks * block_threads), left_out(left_out), scratch(threads), all(threads) {
        for (std::vector<u64>& turn : told) turn.resize(threads);
        for (int b = 0; b < blocks; b++) block.emplace_back(new std::barrier<>(block_threads));
    }
};

struct EmulatedThread {
    enum { LANES = ATC_LANES };
    Team& team;
    const int index, threads, lane, warp, warps, block, blocks, of_block, block_threads;
    mutable u32 turn = 0;

    EmulatedThread(Team& team, int index)
        : team(team), index(index), threads(team.threads), lane(index % LANES), warp(index / LANES),
          warps(team.threads / LANES), block(index / (team.threads / team.blocks)), blocks(team.blocks),
          of_block(index % (team.threads / team.blocks)), block_threads(team.threads / team.blocks) {}

    void sync(const char* file = __builtin_FILE(), int line = __builtin_LINE()) const {
        if (threads == 1) return;
        const char* const slash = strrchr(file, '/');
        const std::string here = std::string(slash ? slash + 1 : file) + ":" + std::to_string(line);
        if (index == 0) team.waits.insert(here);
        if (here != team.left_out) team.all.arrive_and_wait();
    }
    u32 atomic_add(u32* to, u32 value) const { return __atomic_fetch_add(to, value, __ATOMIC_RELAXED); }
    void atomic_add(u64* to, u64 value) const { __atomic_fetch_add(to, value, __ATOMIC_RELAXED); }
    template <class T> void atomic_min(T* to, T value) const {
        T old = __atomic_load_n(to, __ATOMIC_RELAXED);
        const int relaxed = __ATOMIC_RELAXED;
        while (value < old && !__atomic_compare_exchange_n(to, &old, value, false, relaxed, relaxed)) {
        }
    }
    u32 atomic_read(u32* from) const { return __atomic_load_n(from, __ATOMIC_RELAXED); }
    bool atomic_swap(u32* at, u32 old, u32 value) const {
        return __atomic_compare_exchange_n(at, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }

    template <class Join> u32 together(u32 value, u32 result, Join join) const {
        if (LANES == 1) return join(result, value, 0);
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
    u32 of_first_lane(u32 value) const {
        return together(value, 0, [](u32 first, u32 b, int other) { return other == 0 ? b : first; });
    }
    u32 ballot(bool value) const {
        return together(value, 0, [](u32 lanes, u32 b, int other) { return lanes | b << other; });
    }
    int count(u32 lanes) const { return __builtin_popcount(lanes); }
    int count_below(u32 lanes) const { return __builtin_popcount(lanes & ((1u << lane) - 1)); }
    template <class T> T least_of_block(T mine) const {
        if (block_threads == 1) return mine;
        team.block[block]->arrive_and_wait();
        u64* const scratch = &team.scratch[block * block_threads];
        scratch[of_block] = mine;
        team.block[block]->arrive_and_wait();
        for (int other = 0; other < block_threads; other++) mine = T(scratch[other]) < mine ? T(scratch[other]) : mine;
        return mine;
    }
};

// Does the work of all threads, and says where they waited.
template <class Work> Waits in_threads(int blocks, int block_threads, const std::string& left_out, Work work) {
    Team team(blocks, block_threads, left_out);
    auto of_one = [&](int index) {
        EmulatedThread thread(team, index);
        work(thread);
        team.all.arrive_and_drop();  // without all waits, others may still wait for this thread
    };
    std::vector<std::thread> others;
    for (int index = 1; index < team.threads; index++) others.emplace_back(of_one, index);
    of_one(0);
    for (std::thread& other : others) other.join();
    return team.waits;
}

// A function for each linkage and type of distances.
template <template <class> class Function, class... Arguments>
Waits dispatch(int method, bool is_double, const Arguments&... arguments) {
    if (is_double) {
        if (method == SINGLE) return Function<Linkage<SINGLE, double>>::call(arguments...);
        if (method == COMPLETE) return Function<Linkage<COMPLETE, double>>::call(arguments...);
        if (method == AVERAGE) return Function<Linkage<AVERAGE, double>>::call(arguments...);
        return Function<Linkage<WARD, double>>::call(arguments...);
    }
    if (method == SINGLE) return Function<Linkage<SINGLE, float>>::call(arguments...);
    if (method == COMPLETE) return Function<Linkage<COMPLETE, float>>::call(arguments...);
    if (method == AVERAGE) return Function<Linkage<AVERAGE, float>>::call(arguments...);
    return Function<Linkage<WARD, float>>::call(arguments...);
}

// What the algorithms ask of a GPU: names of types, bits of numbers, and what the lanes of a warp tell each other.
// For NVRTC with --fmad=false, and without --use_fast_math: both would round otherwise than the oracle.
#pragma once

#define ATC_DEVICE __device__ __forceinline__

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
typedef unsigned short u16;

ATC_DEVICE u32 bits_of(float value) { return __float_as_uint(value); }
ATC_DEVICE u64 bits_of(double value) { return u64(__double_as_longlong(value)); }
ATC_DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }
ATC_DEVICE double double_of(u64 bits) { return __longlong_as_double(i64(bits)); }
ATC_DEVICE u32 trailing_zeros(u32 value) { return u32(__ffs(int(value)) - 1); }
ATC_DEVICE u32 trailing_zeros(u64 value) { return u32(__ffsll(i64(value)) - 1); }

// All lanes of a warp take part in `ballot`, `least` and `of_first_lane`.
struct GpuWarp {
    enum { LANES = 32 };
    const int lane;

    ATC_DEVICE GpuWarp() : lane(threadIdx.x & 31) {}

    ATC_DEVICE u32 atomic_add(u32* to, u32 value) const { return atomicAdd(to, value); }
    ATC_DEVICE void atomic_add(u64* to, u64 value) const { atomicAdd(to, value); }
    ATC_DEVICE void atomic_min(u32* to, u32 value) const { atomicMin(to, value); }
    ATC_DEVICE void atomic_min(u64* to, u64 value) const { atomicMin(to, value); }
    ATC_DEVICE u32 atomic_read(u32* from) const { return *(volatile u32*)from; }
    ATC_DEVICE bool atomic_swap(u32* at, u32 old, u32 value) const { return atomicCAS(at, old, value) == old; }

    ATC_DEVICE u32 ballot(bool mine) const { return __ballot_sync(0xFFFFFFFFu, mine); }
    ATC_DEVICE int count(u32 lanes) const { return __popc(lanes); }
    ATC_DEVICE int count_below(u32 lanes) const { return __popc(lanes & ((1u << lane) - 1)); }
    ATC_DEVICE u32 of_first_lane(u32 mine) const { return __shfl_sync(0xFFFFFFFFu, mine, 0); }
    ATC_DEVICE u32 least(u32 mine) const {
#if __CUDA_ARCH__ >= 800
        return __reduce_min_sync(0xFFFFFFFFu, mine);
#else
        for (int apart = 16; apart; apart /= 2) {
            const u32 other = __shfl_xor_sync(0xFFFFFFFFu, mine, apart);
            mine = other < mine ? other : mine;
        }
        return mine;
#endif
    }
};

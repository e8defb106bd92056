// The block algorithm on a GPU: a block an image. NVRTC compiles it for one linkage (ATC_METHOD) and one input type
// (ATC_INPUT) at a time. Fused multiply-adds must be off (--fmad=false): they round otherwise than the oracle.
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

#include "block.h"

struct GpuThread {
    enum { LANES = 32 };
    const int index, threads, lane, warp, warps;

    ATC_DEVICE GpuThread()
        : index(threadIdx.x), threads(blockDim.x), lane(threadIdx.x & 31), warp(threadIdx.x >> 5),
          warps(blockDim.x >> 5) {}

    ATC_DEVICE void sync() const { __syncthreads(); }
    ATC_DEVICE u32 atomic_add(u32* to, u32 value) const { return atomicAdd(to, value); }
    ATC_DEVICE void atomic_min(u32* to, u32 value) const { atomicMin(to, value); }

    // Of a warp, all lanes of which take part.
    ATC_DEVICE u32 ballot(bool mine) const { return __ballot_sync(0xFFFFFFFFu, mine); }
    ATC_DEVICE int count(u32 lanes) const { return __popc(lanes); }
    ATC_DEVICE int count_below(u32 lanes) const { return __popc(lanes & ((1u << lane) - 1)); }
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

// 1024 threads with 64 registers each, and one such block on a multiprocessor: without the 1, the assembler may save
// registers to memory so as to fit two.
extern "C" __global__ void __launch_bounds__(1024, 1) atc_linkage(const Job job) {
    extern __shared__ __align__(16) unsigned char memory[];
    GpuThread thread;
    Block<Linkage<ATC_METHOD, ATC_INPUT>, GpuThread>(thread, job, blockIdx.x, memory).run();
}

// The threads that work on one image in device memory: those of several blocks, which may wait for each other.
#pragma once
#include "gpu.h"
#include "space.h"

struct GroupThread : GpuWarp {
    int index, threads, warp, warps;  // of the group
    const int block, blocks;
    const int of_block, block_threads;
    u32* const barrier;
    u64* const scratch;  // [32] shared memory

    ATC_DEVICE GroupThread(int blocks, u32* barrier, u64* scratch)
        : block(int(blockIdx.x) % blocks), blocks(blocks), of_block(threadIdx.x), block_threads(blockDim.x),
          barrier(barrier), scratch(scratch) {
        index = block * block_threads + of_block, threads = blocks * block_threads;
        warp = index >> 5, warps = threads >> 5;
    }

    // The counter comes back to where it was, but for its highest bit, which turns when the last block arrives.
    ATC_DEVICE void sync() const {
        __syncthreads();
        if (blocks == 1) return;
        if (of_block == 0) {
            __threadfence();
            const u32 before = atomicAdd(barrier, block ? 1u : 0x80000000u - u32(blocks - 1));
            while (((*(volatile u32*)barrier ^ before) & 0x80000000u) == 0) {
            }
            __threadfence();
        }
        __syncthreads();
    }

    template <class T> ATC_DEVICE T least_of_block(T mine) const {
        mine = least_of_warp(*this, mine);
        __syncthreads();
        if (lane == 0) scratch[of_block >> 5] = mine;
        __syncthreads();
        return least_of_warp(*this, lane < block_threads >> 5 ? T(scratch[lane]) : T(~T(0)));
    }
};

// A group takes one image after another; there are as many groups as images that are worked on at a time. An
// `Algorithm` is made for an image, and runs.
template <class Algorithm> ATC_DEVICE void work_on_images(const Job& job) {
    __shared__ u64 scratch[32];
    const int blocks = int(job.blocks);
    const i64 group = blockIdx.x / blocks, groups = gridDim.x / blocks;
    GroupThread thread(blocks, job.barriers + group, scratch);
    for (i64 image = group; image < job.images; image += groups)
        Algorithm(thread, job, image, job.memory + group * job.bytes).run();
}

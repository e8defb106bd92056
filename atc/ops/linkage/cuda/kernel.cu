// The entry point for images whose cells fit in shared memory: block.h, one thread block an image.
#include "gpu.h"

#include "block.h"

struct GpuThread : GpuWarp {
    const int index, threads, warp, warps;

    ATC_DEVICE GpuThread()
        : index(threadIdx.x), threads(blockDim.x), warp(threadIdx.x >> 5), warps(blockDim.x >> 5) {}

    ATC_DEVICE void sync() const { __syncthreads(); }
};

// 1024 threads with 64 registers each, and one such block on a multiprocessor: without the 1, the assembler may save
// registers to memory so as to fit two.
extern "C" __global__ void __launch_bounds__(1024, 1) atc_linkage(const Job job) {
    extern __shared__ __align__(16) unsigned char memory[];
    GpuThread thread;
    Block<Linkage<ATC_METHOD, ATC_INPUT>, GpuThread>(thread, job, blockIdx.x, memory).run();
}

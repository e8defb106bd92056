// The algorithms of the cuda backend in device memory on a CPU: a shared library for the tests (`emulate_grid`), and a
// program for the sanitizers (-DATC_PROGRAM).
#include "emulated.h"

#include "rounds.h"
#include "tree.h"

namespace {

template <class L> struct Group {
    static Waits call(const Job& job, i64 group, i64 groups, int blocks, int threads, const std::string& left_out) {
        unsigned char* const memory = job.memory + group * job.bytes;
        return in_threads(blocks, threads, left_out, [&](EmulatedThread& thread) {
            for (i64 image = group; image < job.images; image += groups) {
                if (L::METHOD == SINGLE && !job.merges)
                    Tree<Linkage<SINGLE, typename L::Input>, EmulatedThread>(thread, job, image, memory).run();
                else
                    Rounds<L, EmulatedThread>(thread, job, image, memory).run();
            }
        });
    }
};

}  // namespace

// What a launch does; `job` comes with memory. `groups` of them, of `blocks` blocks of `threads` threads.
extern "C" void emulate_grid(const Job* job, i64 groups, int method, int is_double, int blocks, int threads) {
    for (i64 group = 0; group < groups; group++)
        dispatch<Group>(method, is_double, *job, group, groups, blocks, threads, std::string());
}

extern "C" i64 grid_bytes(i64 tokens, i64 width) {
    const i64 cells = (width * tokens * tokens + 15) / 16 * 16, keys = (width * 3 * tokens + 7) / 8 * 8;
    return cells + keys + 8 + 4 * (16 + 12 * tokens);
}

#ifdef ATC_PROGRAM

static Waits cluster(Job job, int method, bool is_double, int blocks, int threads, const std::string& left) {
    job.bytes = grid_bytes(job.tokens, method <= COMPLETE && !is_double ? 4 : 8);
    std::unique_ptr<unsigned char[]> memory(new unsigned char[job.bytes]);  // not a byte more than it may touch
    memset(memory.get(), 0xA5, job.bytes);
    job.memory = memory.get();
    return dispatch<Group>(method, is_double, job, i64(0), i64(1), blocks, threads, left);
}

#include "sanitized.h"

int main(int count, char** arguments) { return run_all(count > 1 ? arguments[1] : "", 2, 4 * ATC_LANES, true); }

#endif

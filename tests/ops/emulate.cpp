// The block algorithm of the cuda backend on a CPU: a shared library for the tests (`emulate`), and a program for the
// sanitizers (-DATC_PROGRAM).
#include "emulated.h"

#include "block.h"

namespace {

template <class L> struct Blocks {
    static Waits call(const Job& job, i64 images, int threads, size_t shared, const std::string& left_out) {
        Waits waits;
        for (i64 image = 0; image < images; image++) {
            std::unique_ptr<unsigned char[]> memory(new unsigned char[shared]);  // not a byte more than it may touch
            memset(memory.get(), 0xA5, shared);
            waits.merge(in_threads(1, threads, left_out, [&](EmulatedThread& thread) {
                Block<L, EmulatedThread>(thread, job, image, memory.get()).run();
            }));
        }
        return waits;
    }
};

}  // namespace

extern "C" i64 shared_bytes(i64 tokens, i64 width) {
    return width * (tokens * (tokens - 1) / 2 + 2 * tokens) + 16 * tokens + 32;
}

extern "C" void emulate(const Job* job, i64 images, int method, int is_double, int threads, i64 shared) {
    dispatch<Blocks>(method, is_double, *job, images, threads, size_t(shared), std::string());
}

#ifdef ATC_PROGRAM

static Waits cluster(const Job& job, int method, bool is_double, int, int threads, const std::string& left_out) {
    const i64 shared = shared_bytes(job.tokens, method <= COMPLETE && !is_double ? 4 : 8);
    return dispatch<Blocks>(method, is_double, job, job.images, threads, size_t(shared), left_out);
}

#include "sanitized.h"

int main(int count, char** arguments) { return run_all(count > 1 ? arguments[1] : "", 1, 3 * ATC_LANES, false); }

#endif

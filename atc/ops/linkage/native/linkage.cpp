// The C interface: picks the kernel for this processor and lends it memory.
#include <cstdlib>
#include <mutex>
#include <utility>

#include "job.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace baseline {
size_t workspace_size(const AtcJob&);
void run(const AtcJob&, void*);
}  // namespace baseline
#if defined(ATC_WITH_AVX2)
namespace avx2 {
size_t workspace_size(const AtcJob&);
void run(const AtcJob&, void*);
}  // namespace avx2
#endif

namespace {

// Small workspaces are kept by each thread from call to call. Of large ones the process keeps one, for the
// next call: touching fresh pages takes as long as clustering does.
struct Memory {
    static constexpr size_t small = size_t(16) << 20, large = size_t(256) << 20, huge_page = size_t(2) << 20;
    void* block = nullptr;
    size_t size = 0;

    void* at_least(size_t wanted) {
        if (wanted <= size) return block;
        release();
        if (wanted > small) swap_spare();
        if (wanted <= size) return block;
        release();
        size_t alignment = wanted >= 2 * huge_page ? huge_page : 64;
        if (posix_memalign(&block, alignment, wanted)) {
            block = nullptr;
            return nullptr;
        }
        size = wanted;
#if defined(MADV_HUGEPAGE)
        if (alignment == huge_page) madvise(block, wanted, MADV_HUGEPAGE);  // a hint: 512 times fewer page faults
#endif
        return block;
    }
    void done() {
        if (size > small && size <= large) swap_spare();
        if (size > small) release();
    }
    void release() {
        free(block);
        block = nullptr;
        size = 0;
    }
    ~Memory() { release(); }

  private:
    inline static std::mutex one_at_a_time;
    inline static void* spare = nullptr;
    inline static size_t spare_size = 0;

    void swap_spare() {
        std::unique_lock<std::mutex> lock(one_at_a_time, std::try_to_lock);  // a fork may leave it locked for ever
        if (!lock) return;
        std::swap(block, spare);
        std::swap(size, spare_size);
    }
};

bool has_avx2() {
#if defined(ATC_WITH_AVX2)
    return __builtin_cpu_supports("avx2");
#else
    return false;
#endif
}

}  // namespace

extern "C" {

// 0, or 1 if there is not enough memory, or 2 if the job makes no sense. Any number of threads may call.
__attribute__((visibility("default"))) int atc_linkage(const AtcJob* job, int allow_avx2) {
    if (job->tokens < 1 || job->tokens > INT32_MAX / 2 || job->keep < 1 || job->keep > job->tokens) return 2;
    if (job->method < ATC_SINGLE || job->method > ATC_WARD || (job->merges && !job->heights)) return 2;
    AtcWorkspace workspace_size = baseline::workspace_size;
    AtcRun run = baseline::run;
#if defined(ATC_WITH_AVX2)
    if (allow_avx2 && has_avx2()) {
        workspace_size = avx2::workspace_size;
        run = avx2::run;
    }
#endif
    static thread_local Memory memory;
    void* workspace = memory.at_least(workspace_size(*job));
    if (!workspace) return 1;
    run(*job, workspace);
    memory.done();
    return 0;
}

__attribute__((visibility("default"))) int atc_linkage_version() { return 3; }

}  // extern "C"

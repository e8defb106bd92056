// The C interface: picks the kernel for this processor and lends it memory.
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "centres.h"
#include "job.h"
#include "merge.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(_WIN32)
#include <malloc.h>
#if defined(ATC_WITH_AVX2)
#include <cpuid.h>
#endif
#define ATC_PUBLIC __declspec(dllexport)
#else
#define ATC_PUBLIC __attribute__((visibility("default")))
#endif

namespace baseline {
size_t workspace_size(const AtcJob&, const AtcAmong*);
void run(const AtcJob&, const AtcAmong*, void*);
void find_centres(const AtcCentres&);
void merge_tokens(const AtcMerge&);
}  // namespace baseline
#if defined(ATC_WITH_AVX2)
namespace avx2 {
size_t workspace_size(const AtcJob&, const AtcAmong*);
void run(const AtcJob&, const AtcAmong*, void*);
void find_centres(const AtcCentres&);
void merge_tokens(const AtcMerge&);
}  // namespace avx2
#endif

namespace {

#if defined(_WIN32)
void* aligned_block(size_t alignment, size_t size) { return _aligned_malloc(size, alignment); }
void free_block(void* block) { _aligned_free(block); }
#else
void* aligned_block(size_t alignment, size_t size) {
    void* block = nullptr;
    return posix_memalign(&block, alignment, size) ? nullptr : block;
}
void free_block(void* block) { free(block); }
#endif

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
        block = aligned_block(alignment, wanted);
        if (!block) return nullptr;
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
        free_block(block);
        block = nullptr;
        size = 0;
    }
    ~Memory() { release(); }

  private:
    inline static std::atomic_flag taken = ATOMIC_FLAG_INIT;  // no mutex, which would need a newer glibc
    inline static void* spare = nullptr;
    inline static size_t spare_size = 0;

    void swap_spare() {
        if (taken.test_and_set(std::memory_order_acquire)) return;  // a fork may leave it taken for ever
        std::swap(block, spare);
        std::swap(size, spare_size);
        taken.clear(std::memory_order_release);
    }
};

bool has_avx2() {
#if defined(ATC_WITH_AVX2) && defined(_WIN32)  // where not every linker finds what the builtin below needs
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return false;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6) return false;  // the system does not keep wide registers
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 5 & 1);
#elif defined(ATC_WITH_AVX2)
    return __builtin_cpu_supports("avx2");
#else
    return false;
#endif
}

int cluster(const AtcJob* job, const AtcAmong* among, int allow_avx2) {
    if (job->tokens < 1 || job->tokens > INT32_MAX / 2 || job->keep < 1 || job->keep > job->tokens) return 2;
    if (job->method < ATC_SINGLE || job->method > ATC_WARD || (job->merges && !job->heights)) return 2;
    if (job->limit != INFINITY && !job->merges && job->keep < job->tokens) return 2;
    AtcWorkspace workspace_size = baseline::workspace_size;
    AtcRun run = baseline::run;
#if defined(ATC_WITH_AVX2)
    if (allow_avx2 && has_avx2()) {
        workspace_size = avx2::workspace_size;
        run = avx2::run;
    }
#endif
    static thread_local Memory memory;
    void* workspace = memory.at_least(workspace_size(*job, among));
    if (!workspace) return 1;
    run(*job, among, workspace);
    memory.done();
    return 0;
}

int find(const AtcCentres& job, int allow_avx2) {
    if (job.tokens < 1 || job.tokens > INT32_MAX / 2 || job.count < 1 || job.count > job.tokens || job.rounds < 0) return 2;
    const bool weighed = job.task == ATC_MEDOIDS || job.task == ATC_DENSER;
    if (job.task < ATC_MEDOIDS || job.task > ATC_DENSER || (weighed && !job.weight)) return 2;
    if (job.task >= ATC_SMALLEST ? !job.values : !job.centres || !job.scratch) return 2;
    if (job.task == ATC_MEDOIDS && !job.labels) return 2;
    AtcFind found = baseline::find_centres;
#if defined(ATC_WITH_AVX2)
    if (allow_avx2 && has_avx2()) found = avx2::find_centres;
#endif
    found(job);
    return 0;
}

int merge(const AtcMerge& job, int allow_avx2) {
    if (job.images < 0 || job.prefix < 0 || job.tokens < 0 || job.channels < 0 || job.groups < 0) return 2;
    for (int64_t token = 0; token < job.images * job.tokens; token++)
        if (job.labels[token] < -1 || job.labels[token] >= job.groups) return 3;
    AtcMergeRun merged = baseline::merge_tokens;
#if defined(ATC_WITH_AVX2)
    if (allow_avx2 && has_avx2()) merged = avx2::merge_tokens;
#endif
    merged(job);
    return 0;
}

}  // namespace

extern "C" {

// 0, or 1 if there is not enough memory, or 2 if the job makes no sense. Any number of threads may call.
ATC_PUBLIC int atc_linkage(const AtcJob* job, int allow_avx2) {
    return cluster(job, nullptr, allow_avx2);
}

// The same among neighbours. There may be fewer merges than asked for only if a union merges no further; a limit is
// not looked at.
ATC_PUBLIC int atc_linkage_among(const AtcJob* job, const AtcAmong* among, int allow_avx2) {
    return among->neighbours ? cluster(job, among, allow_avx2) : 2;
}

// Centres of clusters; 0, or 2 if the job makes no sense.
ATC_PUBLIC int atc_centres(const AtcCentres* job, int allow_avx2) {
    return find(*job, allow_avx2);
}

// Merged tokens; 0, or 2 if the job makes no sense, or 3 if a label is out of range.
ATC_PUBLIC int atc_merge(const AtcMerge* job, int allow_avx2) {
    return merge(*job, allow_avx2);
}

ATC_PUBLIC int atc_linkage_version() { return 4; }

}  // extern "C"

// Merging tokens: weighted means or sums by group. Tokens are added one by one, in their order, to zeros, so that results
// are those of PyTorch's operators to the bit.
#include "merge.h"

#include "keys.h"

namespace ATC_ISA {

namespace {

template <class Real> struct Merge {
    const AtcMerge& job;

    void image(int64_t number) const {
        const Real* x = (const Real*)job.x + number * job.image_stride;
        const int64_t* labels = job.labels + number * job.tokens;
        const int64_t token = number * job.tokens, group = number * job.groups;
        Real* out = (Real*)job.out + number * (job.prefix + job.groups) * job.channels;
        for (int64_t row = 0; row < job.prefix; row++, out += job.channels)
            memcpy(out, x + row * job.row_stride, job.channels * sizeof(Real));
        const Real* weight = job.weight ? (const Real*)job.weight + token : nullptr;
        sum_rows(x + job.prefix * job.row_stride, labels, weight, out);
        if (job.size) sum((const Real*)job.size + token, labels, (Real*)job.sizes + group);
        if (!job.average) return;
        Real* totals = (Real*)job.totals + group;
        sum(weight, labels, totals);
        for (int64_t k = 0; k < job.groups; k++, out += job.channels) {
            totals[k] += (Real)job.eps;
            const Real divisor = job.empty_groups && totals[k] == 0 ? 1 : totals[k];
            for (int64_t c = 0; c < job.channels; c++) out[c] /= divisor;
        }
    }

  private:
    void sum_rows(const Real* x, const int64_t* labels, const Real* weight, Real* out) const {
        for (int64_t at = 0; at < job.groups * job.channels; at++) out[at] = 0;
        for (int64_t token = 0; token < job.tokens; token++, x += job.row_stride) {
            if (labels[token] < 0) continue;
            Real* row = out + labels[token] * job.channels;
            if (weight)
                for (int64_t c = 0; c < job.channels; c++) row[c] += x[c] * weight[token];
            else
                for (int64_t c = 0; c < job.channels; c++) row[c] += x[c];
        }
    }
    void sum(const Real* values, const int64_t* labels, Real* sums) const {
        for (int64_t k = 0; k < job.groups; k++) sums[k] = 0;
        for (int64_t token = 0; token < job.tokens; token++)
            if (labels[token] >= 0) sums[labels[token]] += values ? values[token] : 1;
    }
};

template <class Real> void run_images(const AtcMerge& job) {
    for (int64_t number = 0; number < job.images; number++) Merge<Real>{job}.image(number);
}

}  // namespace

void merge_tokens(const AtcMerge& job) {
    if (job.is_double) run_images<double>(job);
    else run_images<float>(job);
}

}  // namespace ATC_ISA

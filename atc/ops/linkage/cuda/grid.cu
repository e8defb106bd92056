// The entry point for any number of tokens: rounds.h in device memory, `job.blocks` thread blocks an image. Where these
// are more than one they wait for each other: then the launch must be cooperative.
#include "group.h"

#include "rounds.h"

extern "C" __global__ void __launch_bounds__(1024, 1) atc_linkage(const Job job) {
    work_on_images<Rounds<Linkage<ATC_METHOD, ATC_INPUT>, GroupThread>>(job);
}

// The entry point for labels of single linkage and any number of tokens: tree.h, launched as grid.cu is.
#include "group.h"

#include "tree.h"

extern "C" __global__ void __launch_bounds__(1024, 1) atc_linkage(const Job job) {
    work_on_images<Tree<Linkage<SINGLE, ATC_INPUT>, GroupThread>>(job);
}

// A libcuda.so.1 without a GPU: what the cuda backend asks of the driver, with blocks run by the emulation. A "binary"
// is three bytes: the linkage, whether distances are float64, and whether it is a kernel in device memory.
// A call out of order fails as a driver's would.
#define ATC_LANES 1
#include "emulate.cpp"
#include "emulate_grid.cpp"

namespace {

enum { SUCCESS = 0, INVALID_VALUE = 1, INVALID_CONTEXT = 201, NOT_FOUND = 500, TOO_LARGE = 720 };
const i64 SHARED = 227 * 1024;  // of an H100
const int MULTIPROCESSORS = 132;

struct Module {
    int method, is_double, in_device_memory;
    i64 allowed;
};
char context;               // its address stands for device 0's primary context
thread_local int depth;     // of the stack of current contexts
bool retained;

int init(unsigned) { return SUCCESS; }
int device_get(int* device, int ordinal) {
    *device = ordinal;
    return ordinal == 0 ? SUCCESS : INVALID_VALUE;
}
int device_attribute(int* value, int attribute, int device) {
    *value = attribute == 97 ? int(SHARED) : attribute == 16 ? MULTIPROCESSORS : 1;
    const bool known = attribute == 97 || attribute == 16 || attribute == 95;  // the last one: COOPERATIVE_LAUNCH
    return known && device == 0 ? SUCCESS : INVALID_VALUE;
}
int retain(void** made, int device) {
    *made = &context;
    retained = true;
    return device == 0 ? SUCCESS : INVALID_VALUE;
}
int push(void* given) {
    if (given != &context || !retained) return INVALID_CONTEXT;
    depth++;
    return SUCCESS;
}
int pop(void** was) {
    if (depth == 0) return INVALID_CONTEXT;
    depth--;
    if (was) *was = &context;
    return SUCCESS;
}
int load_module(void** module, const void* image) {
    if (depth != 1) return INVALID_CONTEXT;
    const unsigned char* const bytes = (const unsigned char*)image;
    *module = new Module{bytes[0], bytes[1], bytes[2], 48 * 1024};  // kept to the end, as a process keeps its kernels
    return SUCCESS;
}
int get_function(void** function, void* module, const char* name) {
    *function = module;
    return depth == 1 && !strcmp(name, "atc_linkage") ? SUCCESS : NOT_FOUND;
}
int set_attribute(void* function, int attribute, int value) {
    if (attribute != 8 || value > SHARED) return INVALID_VALUE;  // MAX_DYNAMIC_SHARED_SIZE_BYTES
    ((Module*)function)->allowed = value;
    return SUCCESS;
}
int launch(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned ty, unsigned tz,
           unsigned shared, void* stream, void** parameters, void** extra) {
    const Module& module = *(Module*)function;
    if (depth != 1) return INVALID_CONTEXT;
    if (!x || y != 1 || z != 1 || ty != 1 || tz != 1 || threads % 32 || threads > 1024) return INVALID_VALUE;
    if (shared > module.allowed || stream != (void*)1 || extra) return INVALID_VALUE;
    const Job& job = *(const Job*)parameters[0];
    if (!module.in_device_memory) emulate(&job, x, module.method, module.is_double, 1, shared);
    else if (job.blocks != 1) return INVALID_VALUE;  // nothing says that they run at once
    else emulate_grid(&job, x, module.method, module.is_double, 1, 1);
    return SUCCESS;
}
int occupancy(int* blocks, void* function, int threads, size_t shared) {
    *blocks = threads <= 1024 && shared == 0 ? 1 : 0;
    return depth == 1 && ((Module*)function)->in_device_memory ? SUCCESS : INVALID_VALUE;
}
int launch_together(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned ty, unsigned tz,
                    unsigned shared, void* stream, void** parameters) {
    const Module& module = *(Module*)function;
    const Job& job = *(const Job*)parameters[0];
    if (depth != 1) return INVALID_CONTEXT;
    if (getenv("REFUSE_TOGETHER") || x > MULTIPROCESSORS) return TOO_LARGE;
    if (!x || y != 1 || z != 1 || ty != 1 || tz != 1 || threads != 1024) return INVALID_VALUE;
    if (shared || stream != (void*)1 || !module.in_device_memory || x % job.blocks) return INVALID_VALUE;
    for (unsigned group = 0; group < x / job.blocks; group++)
        if (((const u32*)job.barriers)[group]) return INVALID_VALUE;
    emulate_grid(&job, x / job.blocks, module.method, module.is_double, 1, 1);
    return SUCCESS;
}

}  // namespace

extern "C" int cuGetProcAddress_v2(const char* name, void** found, int, u64, int*) {
    const struct {
        const char* name;
        void* function;
    } known[] = {
        {"cuInit", (void*)init},
        {"cuDeviceGet", (void*)device_get},
        {"cuDeviceGetAttribute", (void*)device_attribute},
        {"cuDevicePrimaryCtxRetain", (void*)retain},
        {"cuCtxPushCurrent", (void*)push},
        {"cuCtxPopCurrent", (void*)pop},
        {"cuModuleLoadData", (void*)load_module},
        {"cuModuleGetFunction", (void*)get_function},
        {"cuFuncSetAttribute", (void*)set_attribute},
        {"cuLaunchKernel", (void*)launch},
        {"cuLaunchCooperativeKernel", (void*)launch_together},
        {"cuOccupancyMaxActiveBlocksPerMultiprocessor", (void*)occupancy},
    };
    *found = nullptr;
    for (const auto& one : known)
        if (!strcmp(one.name, name)) *found = one.function;
    return *found ? SUCCESS : NOT_FOUND;
}

// A libcuda.so.1 without a GPU: what the cuda backend asks of the driver, with blocks run by the emulation. A "binary"
// is two bytes, the linkage and whether distances are float64. A call out of order fails as a driver's would.
#define ATC_LANES 1
#include "emulate.cpp"

namespace {

enum { SUCCESS = 0, INVALID_VALUE = 1, INVALID_CONTEXT = 201, NOT_FOUND = 500 };
const i64 SHARED = 227 * 1024;  // of an H100

struct Module {
    int method, is_double;
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
    *value = int(SHARED);
    return attribute == 97 && device == 0 ? SUCCESS : INVALID_VALUE;  // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
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
    *module = new Module{bytes[0], bytes[1], 48 * 1024};  // kept to the end, as a process keeps its kernels
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
    emulate((const Job*)parameters[0], x, module.method, module.is_double, 1, shared);
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
    };
    *found = nullptr;
    for (const auto& one : known)
        if (!strcmp(one.name, name)) *found = one.function;
    return *found ? SUCCESS : NOT_FOUND;
}

// Workspace in one piece of memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ATC_ISA {

// Cuts a workspace into arrays; with a null base it only adds up their sizes.
struct Cutter {
    char* base;
    size_t used = 0;

    template <class T> T* take(int64_t count) {
        T* array = base ? (T*)(base + used) : nullptr;
        used += (sizeof(T) * count + 63) / 64 * 64;
        return array;
    }
};

}  // namespace ATC_ISA

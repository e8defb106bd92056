// The arguments of a call from the host; `Job` in launch.py is the same structure.
#pragma once

struct Job {
    const void* distance;  // [B, N, N] float32 or float64; only the part above the diagonal is read
    i64* labels;           // [B, N]
    i64* merges;           // [B, N-K, 2] or null
    double* heights;       // [B, N-K] or null
    i64* counters;         // [B, 4] or null: rounds, merges with those undone, cells scanned, 1 if one merge a round
    i64 image_stride, row_stride, column_stride;  // in elements
    i64 tokens, keep;

    // Of the kernel in device memory only.
    unsigned char* memory;  // [groups, bytes], aligned to 16: what an image needs while it is worked on (space.h)
    u32* barriers;          // [groups], 0 before the launch
    i64 bytes, images;      // of a group; B
    i64 blocks;             // of a group, which works on one image at a time
};

// The end of the block algorithm: which merges are kept, and clusters numbered by the first of their members.
#pragma once

// Merges in order with their heights, if the call returns them. Those above the cut are undone: both parts are clusters.
template <class Block> ATC_DEVICE void write_merges(Block& b) {
    const i64 start = b.image * b.needed;
    for (int m = b.thread.index; m < b.merged; m += b.thread.threads) {
        const int low = b.recorded[m], place = b.rank[low];
        if (place >= b.needed) {
            b.parent[low] = u16(low);
        } else if (b.job.merges) {
            b.job.merges[2 * (start + place)] = low;
            b.job.merges[2 * (start + place) + 1] = b.parent[low];
            b.job.heights[start + place] = value_of(b.height[low]);
        }
    }
    u32* const first = (u32*)b.nearest;
    for (int x = b.thread.index; x < b.tokens; x += b.thread.threads) first[x] = u32(b.tokens);
    if (b.thread.index == 0 && b.job.counters) {
        i64* const counters = b.job.counters + 4 * b.image;
        counters[0] = b.rounds;
        counters[1] = b.merged;
        counters[2] = b.scanned;
        counters[3] = b.one_by_one();
    }
}

// `live` becomes the root of each token, and `nearest` the first token of each root.
template <class Block> ATC_DEVICE void find_roots(Block& b) {
    u32* const first = (u32*)b.nearest;
    for (int x = b.thread.index; x < b.tokens; x += b.thread.threads) {
        int root = x;
        while (b.parent[root] != root) root = b.parent[root];
        b.live[x] = u16(root);
        b.thread.atomic_min(&first[root], u32(x));
    }
}

// One warp counts the tokens that are the first of their clusters; `size` becomes their numbers.
template <class Block> ATC_DEVICE void number_roots(Block& b) {
    if (b.thread.warp != 0) return;
    const u32* const first = (const u32*)b.nearest;
    int number = 0;
    for (int start = 0; start < b.tokens; start += b.thread.LANES) {
        const int x = start + b.thread.lane;
        const bool opens = x < b.tokens && first[b.live[x]] == u32(x);
        const u32 lanes = b.thread.ballot(opens);
        if (opens) b.size[x] = u16(number + b.thread.count_below(lanes));
        number += b.thread.count(lanes);
    }
}

template <class Block> ATC_DEVICE void write_labels(Block& b) {
    const u32* const first = (const u32*)b.nearest;
    for (int x = b.thread.index; x < b.tokens; x += b.thread.threads)
        b.job.labels[b.image * b.tokens + x] = b.size[first[b.live[x]]];
}

// From the root of each token to labels, by several thread blocks.
#pragma once

// Clusters numbered by the first of their members. Before, each thread has written the `root` of its tokens. `first`
// has been all ones since the last wait; `number` need hold nothing. The wait after it is the caller's.
template <class Thread>
ATC_DEVICE void number_clusters(Thread& thread, int tokens, const u32* root, u32* first, u32* number, i64* labels) {
    for (int x = thread.index; x < tokens; x += thread.threads) thread.atomic_min(&first[root[x]], u32(x));
    thread.sync();
    // A warp a cluster counts those that begin before it does.
    for (int x = thread.warp; x < tokens; x += thread.warps) {
        if (first[root[x]] != u32(x)) continue;
        int before = 0;
        for (int start = 0; start < x; start += Thread::LANES) {
            const int c = start + thread.lane;
            before += thread.count(thread.ballot(c < x && first[root[c]] == u32(c)));
        }
        if (thread.lane == 0) number[x] = u32(before);
    }
    thread.sync();
    for (int x = thread.index; x < tokens; x += thread.threads) labels[x] = number[first[root[x]]];
}

// One merge a round, every rounding in the order of the greedy algorithm: Ward, and average linkage whose sums are not
// exact. Here a distance can come out below both that it came from: such a union is the nearest of the row at once.
#pragma once

// Each thread block finds the closest pair for itself.
template <class Rounds> ATC_DEVICE u32 closest_pair(Rounds& r) {
    typedef typename Rounds::Key Key;
    Nearest<Rounds> best = {Rounds::none(), ~0u};
    for (int x = r.thread.of_block; x < r.tokens; x += r.thread.block_threads)
        if (r.size[x]) best.offer(r.nearest[x], u32(x));
    const Key key = r.thread.least_of_block(best.key);
    return r.thread.least_of_block(best.key == key ? best.slot : ~0u);
}

// What the row of a third cluster learns of the union; whether its neighbour is still to be looked for.
template <class Rounds> ATC_DEVICE bool meets_union(Rounds& r, int k, u32 low, u32 high, typename Rounds::Key key) {
    const u32 before = r.neighbour[k];
    if (key < r.nearest[k] || (key == r.nearest[k] && high <= before)) {
        r.nearest[k] = key;
        r.neighbour[k] = high;
        return false;
    }
    return before == low || before == high;
}

template <class Rounds> ATC_DEVICE void merge_closest(Rounds& r) {
    typedef typename Rounds::Linkage L;
    typedef typename Rounds::Cell Cell;
    typedef typename Rounds::S S;
    const u32 low = closest_pair(r), high = r.neighbour[low];
    const int size_low = int(r.size[low]), size_high = int(r.size[high]);
    const typename Rounds::Key height = r.nearest[low];
    Cell* const one = r.space.row(int(low));
    Cell* const other = r.space.row(int(high));
    const Cell apart = one[high];
    r.thread.sync();
    for (int k = r.thread.index; k < r.tokens; k += r.thread.threads) {
        if (u32(k) == low || u32(k) == high || r.size[k] == 0) continue;
        Cell cell = L::join(one[k], other[k]);
        if (L::METHOD == WARD) cell = Cell(ward(one[k], other[k], apart, size_low, size_high, int(r.size[k])));
        other[k] = r.space.row(k)[high] = cell;
        const int pairs = (size_low + size_high) * int(r.size[k]);
        if (meets_union(r, k, low, high, L::key(cell, pairs)))
            r.stale[r.thread.atomic_add(&r.counted(S::STALE), 1)] = u32(k);
    }
    if (r.thread.index == 0) {
        r.recorded[r.merged] = low;
        r.place[low] = u32(r.merged);
        r.height[low] = height;
        r.parent[low] = high;
        r.size[high] = u32(size_low + size_high);
        r.size[low] = 0;
        r.nearest[high] = 0;  // before all keys: the whole row is scanned
        r.neighbour[high] = 0;
        r.stale[r.thread.atomic_add(&r.counted(S::STALE), 1)] = high;
        r.to_count(S::STALE) = 0;
    }
    r.merged++;
    r.thread.sync();
    if (r.merged < r.needed) scan_stale(r, int(r.counted(S::STALE)));
    r.thread.sync();
    r.round++;
}

// Single linkage cut in the middle of edges of one length, exactly as the greedy algorithm does it, but at once.
//
// After the edges below the cut, each component has the slot of its largest member. Of the slots that edges at the cut
// would make disappear, all but the largest of each of their components, the r smallest do so, r being how many merges
// are left. Let s be the last of them. Slots up to s join along edges at the cut; a component of them then joins the
// smallest slot beyond s that such an edge leads to.
#pragma once

template <class Tree> ATC_DEVICE u32 root_of(const Tree& t, u32* forest, u32 x) {
    for (u32 up = t.thread.atomic_read(&forest[x]); up != x; up = t.thread.atomic_read(&forest[x])) x = up;
    return x;
}

// Two trees become one, under the larger root; several threads may do so at once.
template <class Tree> ATC_DEVICE void unite(const Tree& t, u32* forest, u32 a, u32 b) {
    for (;;) {
        a = root_of(t, forest, a);
        b = root_of(t, forest, b);
        if (a == b) return;
        const u32 low = a < b ? a : b, high = a < b ? b : a;
        if (t.thread.atomic_swap(&forest[low], low, high)) return;
    }
}

// `slot` becomes a name of each token's cluster.
template <class Tree> ATC_DEVICE void cut(Tree& t) {
    typedef typename Tree::S S;
    u32* const word = t.space.word;
    const auto last_kept = t.edge_key[word[S::CUT]];
    const bool tie = t.needed < t.edges && t.edge_key[word[S::NEXT]] == last_kept;
    for (int m = t.thread.index; m < t.edges; m += t.thread.threads) {
        const u32 i = t.edge_pair[m] >> 16, j = t.edge_pair[m] & 0xFFFF;
        const bool lower = t.edge_key[m] < last_kept, equal = t.edge_key[m] == last_kept;
        if (lower || (equal && !tie)) unite(t, t.below, i, j);
        if (tie && (lower || equal)) unite(t, t.at_cut, i, j);
        if (lower) t.thread.atomic_add(&word[S::GONE], 1);
    }
    t.thread.sync();
    for (int x = t.thread.index; x < t.tokens; x += t.thread.threads) {
        const u32 own = root_of(t, t.below, u32(x));
        t.slot[x] = own;
        t.going[x] = tie && own == u32(x) && root_of(t, t.at_cut, u32(x)) != u32(x);
    }
    t.thread.sync();
    if (tie) cut_among_equals(t, last_kept, t.needed - int(word[S::GONE]));
}

template <class Tree> ATC_DEVICE void cut_among_equals(Tree& t, typename Tree::Key key, int left) {
    typedef typename Tree::S S;
    for (int x = t.thread.warp; x < t.tokens; x += t.thread.warps) {
        if (!t.going[x]) continue;
        int before = 0;
        for (int begin = 0; begin < x; begin += t.thread.LANES) {
            const int c = begin + t.thread.lane;
            before += t.thread.count(t.thread.ballot(c < x && t.going[c]));
        }
        if (t.thread.lane == 0 && before == left - 1) t.space.word[S::LAST] = u32(x);
    }
    t.thread.sync();
    const u32 last = t.space.word[S::LAST];
    for_edges(t, key, [&](u32 low, u32 high) {
        if (high <= last) unite(t, t.joined, low, high);
    });
    t.thread.sync();
    for_edges(t, key, [&](u32 low, u32 high) {
        if (low <= last && last < high) t.thread.atomic_min(&t.beyond[root_of(t, t.joined, low)], high);
    });
    t.thread.sync();
    for (int x = t.thread.index; x < t.tokens; x += t.thread.threads) {
        if (t.slot[x] > last) continue;
        const u32 root = root_of(t, t.joined, t.slot[x]);
        t.slot[x] = t.beyond[root] == ~0u ? root : t.beyond[root];
    }
}

// A warp a row: `visit` gets the slots, smaller one first, of each pair of tokens with this key that are not together.
template <class Tree, class Visit> ATC_DEVICE void for_edges(const Tree& t, typename Tree::Key key, Visit visit) {
    for (int i = t.thread.warp; i < t.tokens; i += t.thread.warps) {
        const auto* const row = t.space.row(i);
        const u32 own = t.slot[i];
        for (int j = i + 1 + t.thread.lane; j < t.tokens; j += t.thread.LANES)
            if (row[j] == key && t.slot[j] < own) visit(t.slot[j], own);
            else if (row[j] == key && t.slot[j] > own) visit(own, t.slot[j]);
    }
}

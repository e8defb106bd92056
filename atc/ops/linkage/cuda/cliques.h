// Tokens that are equally near to each other merge in one round, however many they are.
//
// A clique is a set of clusters any two of which have the same key, and which all others are farther from than that.
// No merge outside brings another cluster as near, and a union of members keeps that key to the rest (of equal keys
// the smaller, the larger and the rounded mean are the same key). So the greedy algorithm merges the members first to
// last: of s0 < s1 < s2 ... always the pair of the least slots, whose union takes the slot of the larger one.
//
// A clique is supposed where several slots have the same neighbour L at the key of L and its own neighbour. The rows of
// all that are supposed to belong to it are read: it is one if each has exactly the others at this key.
#pragma once

// The first member of the clique that a slot is supposed to belong to, or all ones.
template <class Rounds> ATC_DEVICE u32 supposed_first(const Rounds& r, u32 x) {
    if (r.height[x] != Rounds::none() || r.nearest[x] == Rounds::none()) return ~0u;
    const u32 y = r.neighbour[x], first = x < y ? x : y;
    if (r.extra[first] == 0 || r.nearest[first] != r.nearest[x] || r.neighbour[r.neighbour[first]] != first) return ~0u;
    return first;
}

template <class Rounds> ATC_DEVICE int supposed_members(const Rounds& r, u32 first) { return int(r.extra[first]) + 2; }

// A warp reads a row: how many slots have its nearest key, and how many of these are of the clique, and before it.
template <class Rounds> ATC_DEVICE void ask_row(Rounds& r, u32 x, u32 first) {
    typedef typename Rounds::Linkage L;
    const typename Rounds::Cell* const row = r.space.row(int(x));
    const typename Rounds::Key key = r.nearest[x];
    const u32 members = r.size[x];
    int near = 0, inside = 0, before = 0;
    for (int begin = 0; begin < r.tokens; begin += r.thread.LANES) {
        const u32 c = u32(begin + r.thread.lane);
        const bool there = c < u32(r.tokens) && c != x && r.size[c] != 0;
        const bool at_key = there && L::key(row[c], int(members * r.size[c])) == key;
        const bool of_clique = at_key && supposed_first(r, c) == first;
        near += r.thread.count(r.thread.ballot(at_key));
        inside += r.thread.count(r.thread.ballot(of_clique));
        before += r.thread.count(r.thread.ballot(of_clique && c < x));
    }
    if (r.thread.lane != 0) return;
    if (x == first) r.start[x] = r.thread.atomic_add(&r.space.word[Rounds::S::TAKEN], u32(supposed_members(r, first)));
    r.place[x] = u32(before);  // not yet in use: this slot has not disappeared
    if (near == inside && inside + 1 == supposed_members(r, first)) r.thread.atomic_add(&r.agreeing[first], 1);
    if (r.job.counters) r.thread.atomic_add(r.space.scanned, u64(r.tokens));
}

template <class Rounds> ATC_DEVICE bool joins_clique(const Rounds& r, u32 first) {
    return first != ~0u && int(r.agreeing[first]) == supposed_members(r, first);
}

// The members of each clique into `member`, its first one into `clique`, and those that disappear into `recorded`.
// Returns how many cliques there are. Attempts that fail are made ever more rarely, so that they cost little.
template <class Rounds> ATC_DEVICE int find_cliques(Rounds& r) {
    typedef typename Rounds::S S;
    if (r.waiting > 0) return r.waiting--, 0;
    for (int x = r.thread.warp; x < r.tokens; x += r.thread.warps) {
        const u32 first = supposed_first(r, u32(x));
        if (first != ~0u) ask_row(r, u32(x), first);
    }
    r.thread.sync();
    for (int x = r.thread.index; x < r.tokens; x += r.thread.threads) {
        const u32 first = supposed_first(r, u32(x));
        if (!joins_clique(r, first)) continue;
        r.member[r.start[first] + r.place[x]] = u32(x);
        if (u32(x) == first) r.clique[r.thread.atomic_add(&r.space.word[S::CLIQUES], 1)] = first;
        if (int(r.place[x]) + 1 < supposed_members(r, first))
            r.recorded[r.merged + r.thread.atomic_add(&r.space.word[S::GONE], 1)] = u32(x);
    }
    r.thread.sync();
    const int cliques = int(r.space.word[S::CLIQUES]);
    r.patience = cliques ? 0 : 2 * r.patience + 1;
    r.waiting = r.patience;
    return cliques;
}

// A warp takes some columns of a clique: one row from the rows of all members. Columns of other cliques are still of
// single members after that.
template <class Rounds> ATC_DEVICE void join_rows(Rounds& r, u32 first, int k) {
    typedef typename Rounds::Linkage L;
    const u32* const member = r.member + r.start[first];
    const int members = supposed_members(r, first), high = int(member[members - 1]);
    if (k >= r.tokens || r.height[k] != Rounds::none() || supposed_first(r, u32(k)) == first) return;
    typename Rounds::Cell cell = r.space.row(int(member[0]))[k];
    for (int m = 1; m < members; m++) cell = L::join(cell, r.space.row(int(member[m]))[k]);
    r.space.row(high)[k] = cell;
    if (r.role[k] == Rounds::UNTOUCHED) r.space.row(k)[high] = cell;
}

// Of the row of a clique, the columns of another one.
template <class Rounds> ATC_DEVICE void join_columns(Rounds& r, u32 first, u32 other) {
    typedef typename Rounds::Linkage L;
    const u32* const member = r.member + r.start[other];
    const int members = supposed_members(r, other), low = int(member[members - 1]);
    const int high = int(r.member[r.start[first] + supposed_members(r, first) - 1]);
    if (low >= high) return;  // done by the other one
    typename Rounds::Cell* const row = r.space.row(high);
    typename Rounds::Cell cell = row[member[0]];
    for (int m = 1; m < members; m++) cell = L::join(cell, row[member[m]]);
    row[low] = r.space.row(low)[high] = cell;
}

// Returns how many merges that were.
template <class Rounds> ATC_DEVICE int join_cliques(Rounds& r, int cliques) {
    const int merges = int(r.space.word[Rounds::S::GONE]);
    for (int x = r.thread.index; x < r.tokens; x += r.thread.threads) {
        if (r.height[x] != Rounds::none()) continue;
        const u32 first = supposed_first(r, u32(x));
        const bool joins = joins_clique(r, first);
        const bool last = joins && int(r.place[x]) + 1 == supposed_members(r, first);
        r.role[x] = u32(joins ? (last ? Rounds::STAYS : Rounds::LEAVES) : Rounds::UNTOUCHED);
    }
    r.thread.sync();
    const int lanes = r.thread.LANES, strips = (r.tokens + lanes - 1) / lanes;
    for (i64 item = r.thread.warp; item < i64(cliques) * strips; item += r.thread.warps)
        join_rows(r, r.clique[item / strips], int(item % strips) * lanes + r.thread.lane);
    r.thread.sync();
    for (i64 item = r.thread.index; item < i64(cliques) * cliques; item += r.thread.threads)
        join_columns(r, r.clique[item / cliques], r.clique[item % cliques]);
    for (int m = r.merged + r.thread.index; m < r.merged + merges; m += r.thread.threads) {
        const u32 x = r.recorded[m], y = r.neighbour[x], first = x < y ? x : y;
        const u32* const here = r.member + r.start[first] + r.place[x];
        r.height[x] = r.nearest[x];
        r.parent[x] = here[1];
        r.thread.atomic_add(&r.size[r.member[r.start[first] + supposed_members(r, first) - 1]], r.size[x]);
        r.size[x] = 0;
    }
    return merges;
}

template <class Rounds> ATC_DEVICE void forget_cliques(Rounds& r) {
    typedef typename Rounds::S S;
    for (int x = r.thread.index; x < r.tokens; x += r.thread.threads) r.extra[x] = r.agreeing[x] = 0;
    if (r.thread.index == 0) r.space.word[S::CLIQUES] = r.space.word[S::TAKEN] = r.space.word[S::GONE] = 0;
}

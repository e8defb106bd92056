// Agglomerative clustering of one image by several thread blocks, in device memory, for any number of tokens.
//
// The rounds of block.h, three waits each: pairs of reciprocal nearest neighbours are found, joined, and the rows that
// lost their neighbour are scanned again. Where tokens are equally near, whole cliques are merged at once (cliques.h).
// Where a round makes one merge, closest.h does it. Merges above the N-K lowest are undone.
//
// Phases are separated by `thread.sync()`. Within a phase no thread reads what another one writes, except by atomics.
// How often the loops run depends on counters that all threads read alike, and cells are symmetric by construction: of
// all pairs that are alive the first one in the order of merges is always reciprocal, so every round merges.
#pragma once
#include "numbers.h"
#include "scan.h"
#include "space.h"

template <class L, class Thread> struct Rounds {
    typedef L Linkage;
    typedef typename L::Cell Cell;
    typedef typename L::Key Key;
    typedef Space<L> S;
    enum { UNTOUCHED, LEAVES, STAYS };                // roles in a round
    static ATC_DEVICE Key none() { return ~Key(0); }  // after all keys: there is no pair

    Thread& thread;
    const Job& job;
    const i64 image;
    const int tokens, needed;  // N and N - K
    const S space;

    Key* const nearest;    // key of the nearest neighbour, or a lower bound of it if that is above the cut
    Key* const height;     // key that the slot's cluster disappeared at; none() while it is alive
    u32* const neighbour;  // goes with `nearest`: the first slot of that key
    u32* const size;       // 0 where there is no cluster
    u32* const parent;     // the slot that took this one in
    u32* const role;
    u32* const recorded;   // merges by their lower slots, round by round; in a round in any order
    u32* const stale;      // slots to scan
    u32* const place;      // of a merge, among all recorded ones
    u32* const extra;      // slots beyond the first two that are as near to this one as its neighbour
    u32* const agreeing;   // of a clique that is supposed, those whose rows say so; cliques.h
    u32* const start;      // where its members begin in `member`
    u32* const member;
    u32* const clique;     // first members of the cliques of a round

    // The same in all threads.
    bool exact = true;
    int merged = 0, round = 0, waiting = 0, patience = 0;
    Key cut_key = none();  // the merge that is the last of the N-K lowest, once there are so many
    u32 cut_slot = 0;

    ATC_DEVICE Rounds(Thread& thread, const Job& job, i64 image, unsigned char* memory)
        : thread(thread), job(job), image(image), tokens(int(job.tokens)),
          needed(job.keep < job.tokens ? int(job.tokens - job.keep) : 0), space(memory, int(job.tokens)),
          nearest(space.key_array(0)), height(space.key_array(1)), neighbour(space.array(0)), size(space.array(1)),
          parent(space.array(2)), role(space.array(3)), recorded(space.array(4)), stale(space.array(5)),
          place(space.array(6)), extra(space.array(7)), agreeing(space.array(8)), start(space.array(9)),
          member(space.array(10)), clique(space.array(11)) {}

    ATC_DEVICE bool before_cut(Key key, u32 slot) const { return key < cut_key || (key == cut_key && slot < cut_slot); }
    ATC_DEVICE bool one_by_one() const { return L::METHOD == WARD || (L::METHOD == AVERAGE && !exact); }
    ATC_DEVICE u32& counted(int what) const { return space.word[what + round % 2]; }  // of this round
    ATC_DEVICE u32& to_count(int what) const { return space.word[what + 1 - round % 2]; }

    ATC_DEVICE void run() {
        prepare();
        thread.sync();
        if (needed) {
            load_cells(space, thread, job, image);
            thread.sync();
            if (L::METHOD == AVERAGE) exact = exact_sums(space);
            for (int x = thread.warp; x < tokens; x += thread.warps) scan_row(*this, x);
            thread.sync();
            if (one_by_one())
                while (merged < needed) merge_closest(*this);
            else
                while (merge_round()) {
                }
        }
        finish();
    }

    ATC_DEVICE void prepare() {
        clear_words(space, thread);
        for (int x = thread.index; x < tokens; x += thread.threads) {
            height[x] = none();
            nearest[x] = 0;  // before all keys: the whole row is scanned
            neighbour[x] = extra[x] = agreeing[x] = 0;
            size[x] = 1;
            parent[x] = u32(x);
            role[x] = UNTOUCHED;
        }
    }

    ATC_DEVICE bool merge_round() {
        reciprocal_pairs();
        thread.sync();
        int pairs = int(counted(S::PAIRS));
        if (pairs == 0) return false;
        const u32 extras = counted(S::EXTRAS);
        const int cliques = extras ? find_cliques(*this) : 0;
        // Who leaves keeps that role for good, so sizes and heights may change while others still join.
        if (cliques) {
            pairs = join_cliques(*this, cliques);
        } else {
            join_pairs(pairs);
            for (int m = merged + thread.index; m < merged + pairs; m += thread.threads) retire(recorded[m]);
        }
        list_stale();
        if (thread.index == 0) to_count(S::PAIRS) = to_count(S::STALE) = to_count(S::EXTRAS) = 0;
        merged += pairs;
        thread.sync();
        if (extras) forget_cliques(*this);
        scan_stale(*this, int(counted(S::STALE)));
        if (merged >= needed) rank_merges();
        thread.sync();
        if (merged >= needed) cut_slot = space.word[S::CUT], cut_key = height[cut_slot];
        round++;
        return true;
    }

    // Each thread finds its slot's role. A bound that was not refreshed lies above the cut, and so does its pair.
    ATC_DEVICE void reciprocal_pairs() {
        for (int x = thread.index; x < tokens; x += thread.threads) {
            if (height[x] != none()) continue;
            const u32 slot = u32(x), y = neighbour[x], low = slot < y ? slot : y;
            const Key key = nearest[x];
            const bool open = key != none() && before_cut(key, low), mutual = open && neighbour[y] == slot;
            role[x] = mutual ? (slot == low ? LEAVES : STAYS) : UNTOUCHED;
            if (mutual && slot == low) recorded[merged + thread.atomic_add(&counted(S::PAIRS), 1)] = slot;
            if (open && !mutual && y == low && nearest[y] == key) {
                thread.atomic_add(&extra[y], 1);
                thread.atomic_add(&counted(S::EXTRAS), 1);
            }
        }
    }

    // A warp takes some columns of a pair. The cell between two unions is combined from four, by the larger slot.
    ATC_DEVICE void join_pairs(int pairs) {
        const int width = 4 * Thread::LANES, strips = (tokens + width - 1) / width;
        for (i64 item = thread.warp; item < i64(pairs) * strips; item += thread.warps) {
            const int low = int(recorded[merged + item / strips]), high = int(neighbour[low]);
            const Cell *const one = space.row(low), *const other = space.row(high);
            for (int i = 0; i < 4; i++) {
                const int k = int(item % strips) * width + i * Thread::LANES + thread.lane;
                if (k >= tokens || k == high || role[k] == LEAVES || (role[k] == STAYS && k > high)) continue;
                Cell cell = L::join(one[k], other[k]);
                if (role[k] == STAYS) {
                    const int l = int(neighbour[k]);
                    cell = L::join(L::join(one[l], other[l]), cell);
                }
                space.row(high)[k] = space.row(k)[high] = cell;
            }
        }
    }

    // Slots whose neighbour took part, and whose next one may lie below the cut.
    ATC_DEVICE void list_stale() {
        for (int x = thread.index; x < tokens; x += thread.threads)
            if (role[x] != LEAVES && nearest[x] <= cut_key && role[neighbour[x]] != UNTOUCHED)
                stale[thread.atomic_add(&counted(S::STALE), 1)] = u32(x);
    }

    ATC_DEVICE void retire(u32 low) {
        const u32 high = neighbour[low];
        height[low] = nearest[low];
        parent[low] = high;
        size[high] += size[low];
        size[low] = 0;
    }

    // A warp a merge: how many are lower. The one of rank N-K-1 is the cut.
    ATC_DEVICE void rank_merges() {
        for (int m = thread.warp; m < merged; m += thread.warps) {
            const u32 low = recorded[m];
            const Key key = height[low];
            int lower = 0;
            for (int begin = 0; begin < merged; begin += Thread::LANES) {
                const int e = begin + thread.lane;
                const u32 other = e < merged ? recorded[e] : low;
                lower += thread.count(thread.ballot(height[other] < key || (height[other] == key && other < low)));
            }
            if (thread.lane == 0) {
                place[low] = u32(lower);
                if (lower == needed - 1) space.word[S::CUT] = low;
            }
        }
    }

    // Merges above the cut are undone: both parts are clusters.
    ATC_DEVICE void finish() {
        const i64 first_merge = image * needed;
        for (int m = thread.index; m < merged; m += thread.threads) {
            const u32 low = recorded[m];
            const int at = int(place[low]);
            if (at >= needed) {
                parent[low] = low;
            } else if (job.merges) {
                job.merges[2 * (first_merge + at)] = low;
                job.merges[2 * (first_merge + at) + 1] = parent[low];
                job.heights[first_merge + at] = value_of(height[low]);
            }
        }
        for (int x = thread.index; x < tokens; x += thread.threads) extra[x] = ~0u;
        if (thread.index == 0 && job.counters) {
            i64* const counters = job.counters + 4 * image;
            counters[0] = round;
            counters[1] = merged;
            counters[2] = i64(*space.scanned);
            counters[3] = one_by_one();
        }
        thread.sync();
        for (int x = thread.index; x < tokens; x += thread.threads) {
            u32 root = u32(x);
            while (parent[root] != root) root = parent[root];
            stale[x] = root;
        }
        number_clusters(thread, tokens, stale, extra, role, job.labels + image * tokens);
        thread.sync();  // the next image takes the same memory
    }
};

#include "cliques.h"
#include "closest.h"

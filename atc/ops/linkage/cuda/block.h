// Agglomerative clustering of one image by one thread block, in shared memory.
//
// All pairs of clusters that are each other's nearest neighbours are merged at once, in rounds (reciprocal nearest
// neighbours; Murtagh, The Computer Journal 26, 1983): ../README.md, "Why the results are exact", 5. Rounds go on until
// nothing below the N-K lowest merges is missing, and merges above these are undone. A merge is named by its lower
// slot, the one that disappears. Where a round makes one merge, every rounding happens in the order of the greedy algorithm.
//
// Phases are separated by `thread.sync()`. Within a phase no thread reads what another one writes, except by atomics.
#pragma once
#include "cells.h"
#include "job.h"
#include "labels.h"
#include "start.h"

template <class L, class Thread> struct Block {
    typedef L Linkage;
    typedef typename L::Cell Cell;
    typedef typename L::Key Key;

    enum { UNTOUCHED, LEAVES, STAYS };                     // roles in a round
    enum { PAIRS, STALE, CUT, LOWEST, BELOW, WORDS = 8 };  // places in `word`
    static ATC_DEVICE Key none() { return ~Key(0); }       // after all keys: there is no pair

    struct Best {
        Key key;
        u32 slot;
        ATC_DEVICE void offer(Key other, u32 at) {
            if (other < key) key = other, slot = at;
        }
    };
    static ATC_DEVICE Best alone(int slot) { return {none(), u32(slot)}; }

    Thread& thread;
    const Job& job;
    const i64 image;
    const int tokens, needed;  // N and N - K

    // Shared memory, in this order; `shared_bytes` in memory.py adds it up.
    Cell* const cells;     // a packed triangle: row x holds the cells with all smaller slots
    Key* const nearest;    // key of the nearest neighbour, or a lower bound of it if that is above the cut
    Key* const height;     // key that the slot's cluster disappeared at; none() while it is alive
    u32* const word;
    u16* const neighbour;  // goes with `nearest`; the slot itself if there is no other
    u16* const size;
    u16* const parent;     // the slot that took this one in
    u16* const rank;       // of a merge, among all recorded ones
    u16* const role;
    u16* const live;       // slots that are alive, ascending
    u16* const stale;      // slots to scan
    u16* const recorded;   // merges, round by round; in a round in any order

    // The same in all threads.
    bool exact;  // average linkage: no order of adding can change a sum
    int merged, rounds;
    i64 scanned;
    Key cut_key;  // the merge that is the last of the N-K lowest, once there are so many
    u32 cut_slot;

    ATC_DEVICE Block(Thread& thread, const Job& job, i64 image, unsigned char* memory)
        : thread(thread), job(job), image(image), tokens(int(job.tokens)),
          needed(job.keep < job.tokens ? int(job.tokens - job.keep) : 0),
          cells((Cell*)memory), nearest((Key*)(cells + row(tokens))), height(nearest + tokens),
          word((u32*)(height + tokens)), neighbour((u16*)(word + WORDS)), size(neighbour + tokens),
          parent(size + tokens), rank(parent + tokens), role(rank + tokens), live(role + tokens),
          stale(live + tokens), recorded(stale + tokens), exact(true), merged(0), rounds(0),
          scanned(0), cut_key(none()), cut_slot(0) {}

    static ATC_DEVICE int row(int slot) { return slot * (slot - 1) / 2; }
    static ATC_DEVICE int at(int a, int b) { return a > b ? row(a) + b : row(b) + a; }
    ATC_DEVICE bool before_cut(Key key, u32 slot) const { return key < cut_key || (key == cut_key && slot < cut_slot); }
    ATC_DEVICE int alive() const { return tokens - merged; }
    ATC_DEVICE bool one_by_one() const { return L::METHOD == WARD || (L::METHOD == AVERAGE && !exact); }

    ATC_DEVICE void run() {
        prepare(*this);
        thread.sync();
        if (needed) {
            load(*this);
            thread.sync();
            scan_loaded(*this);
            thread.sync();
            while (merge_round()) {
            }
        }
        write_merges(*this);
        thread.sync();
        find_roots(*this);
        thread.sync();
        number_roots(*this);
        thread.sync();
        write_labels(*this);
    }

    ATC_DEVICE bool merge_round() {
        if (one_by_one()) closest_pair();
        else reciprocal_pairs();
        thread.sync();
        const int pairs = int(word[PAIRS]);
        if (pairs == 0) return false;
        rounds++;
        join(pairs);
        merged += pairs;
        thread.sync();
        if (one_by_one() && merged == needed) return false;
        if (!one_by_one() && merged >= needed) {
            rank_merges();
            thread.sync();
            cut_slot = word[CUT];
            cut_key = height[cut_slot];
        }
        list_slots(pairs);
        thread.sync();
        scan();
        thread.sync();
        return true;
    }

    // Each thread finds its slot's role. A bound that was not refreshed lies above the cut, and so does its pair.
    ATC_DEVICE void reciprocal_pairs() {
        for (int q = thread.index; q < alive(); q += thread.threads) {
            const u32 x = live[q], y = neighbour[x];
            const bool open = x != y && before_cut(nearest[x], x < y ? x : y) && neighbour[y] == x;
            role[x] = u16(open ? (x < y ? LEAVES : STAYS) : UNTOUCHED);
            if (open && x < y) recorded[merged + thread.atomic_add(&word[PAIRS], 1)] = u16(x);
        }
    }

    ATC_DEVICE void closest_pair() {
        if (thread.warp != 0) return;
        Best best = alone(0);
        for (int q = thread.lane; q < alive(); q += Thread::LANES) best.offer(nearest[live[q]], live[q]);
        best = least(best);
        if (thread.lane == 0) {
            if (merged) role[parent[recorded[merged - 1]]] = UNTOUCHED;
            recorded[merged] = u16(best.slot);
            role[best.slot] = LEAVES;
            role[neighbour[best.slot]] = STAYS;
            word[PAIRS] = 1;
        }
    }

    // A warp a pair. The cell between two unions is combined from four, by the pair with the larger slot.
    ATC_DEVICE void join(int pairs) {
        for (int p = thread.warp; p < pairs; p += thread.warps) {
            const int low = recorded[merged + p], high = neighbour[low];
            for (int q = thread.lane; q < alive(); q += Thread::LANES) {
                const int k = live[q];
                if (k == high || role[k] == LEAVES) continue;
                Cell& cell = cells[at(high, k)];
                if (role[k] == UNTOUCHED) {
                    cell = joined(low, high, k, cells[at(low, k)], cell);
                } else if (k < high) {
                    const int l = neighbour[k];
                    cell = L::join(L::join(cells[at(low, l)], cells[at(high, l)]), L::join(cells[at(low, k)], cell));
                }
            }
            if (thread.lane == 0) {
                height[low] = nearest[low];
                parent[low] = u16(high);
                if (one_by_one()) rank[low] = u16(merged);
            }
        }
        if (thread.index == 0) word[STALE] = 0;
    }

    ATC_DEVICE Cell joined(int low, int high, int k, Cell one, Cell other) {
        Cell cell = L::join(one, other);
        if (L::METHOD == WARD) cell = Cell(ward(one, other, cells[at(low, high)], size[low], size[high], size[k]));
        if (one_by_one()) {  // rounding may put the new distance below both that it came from
            const Key key = L::key(cell, (size[low] + size[high]) * size[k]);
            if (key < nearest[k] || (key == nearest[k] && high < neighbour[k])) neighbour[k] = u16(high);
        }
        return cell;
    }

    // A warp a merge: how many are lower. The one of rank N-K-1 is the cut.
    ATC_DEVICE void rank_merges() {
        for (int m = thread.warp; m < merged; m += thread.warps) {
            const u32 low = recorded[m];
            const Key key = height[low];
            int lower = 0;
            for (int start = 0; start < merged; start += Thread::LANES) {
                const int e = start + thread.lane;
                const u32 other = e < merged ? recorded[e] : low;
                lower += thread.count(thread.ballot(height[other] < key || (height[other] == key && other < low)));
            }
            if (thread.lane == 0) {
                rank[low] = u16(lower);
                if (lower == needed - 1) word[CUT] = low;
            }
        }
    }

    // Slots that are alive, and of them those to scan: their neighbour took part, and the next may lie below the cut.
    ATC_DEVICE void list_slots(int pairs) {
        if (thread.warp == thread.warps - 1) {
            int listed = 0;
            for (int start = 0; start < tokens; start += Thread::LANES) {
                const int x = start + thread.lane;
                const bool is_alive = x < tokens && height[x] == none();
                const u32 lanes = thread.ballot(is_alive);
                if (is_alive) live[listed + thread.count_below(lanes)] = u16(x);
                listed += thread.count(lanes);
            }
        }
        for (int x = thread.index; x < tokens; x += thread.threads) {
            if (height[x] != none() || nearest[x] > cut_key) continue;
            if (role[neighbour[x]] != UNTOUCHED) stale[thread.atomic_add(&word[STALE], 1)] = u16(x);
        }
        for (int p = thread.index; p < pairs; p += thread.threads) {
            const int low = recorded[merged - pairs + p];
            size[parent[low]] += size[low];
        }
        if (thread.index == 0) word[PAIRS] = 0;
    }

    // A warp a row.
    ATC_DEVICE void scan() {
        const int rows = int(word[STALE]), others = alive();
        for (int w = thread.warp; w < rows; w += thread.warps) {
            const int x = stale[w], members = size[x];
            Best best = alone(x);
            for (int q = thread.lane; q < others; q += Thread::LANES) {
                const int c = live[q];
                if (c != x) best.offer(L::key(cells[at(x, c)], members * size[c]), c);
            }
            note_nearest(x, least(best));
        }
        scanned += i64(rows) * others;
    }

    ATC_DEVICE void note_nearest(int x, Best best) {
        if (thread.lane == 0) nearest[x] = best.key, neighbour[x] = u16(best.slot);
    }

    // Of a warp's lanes: the smallest key, and the smallest slot that has it.
    ATC_DEVICE Best least(Best best) const {
        const Key key = least(best.key);
        return {key, thread.least(best.key == key ? best.slot : ~0u)};
    }
    ATC_DEVICE u32 least(u32 key) const { return thread.least(key); }
    ATC_DEVICE u64 least(u64 key) const {
        const u32 high = thread.least(u32(key >> 32));
        return u64(high) << 32 | thread.least(u32(key >> 32) == high ? u32(key) : ~0u);
    }
};

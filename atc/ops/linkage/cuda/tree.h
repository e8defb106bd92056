// Labels of single linkage: the minimum spanning tree (Boruvka 1926), and of it the N-K lowest edges.
//
// Edges are ordered by (key, smaller slot, larger slot), so that no two are equal and no component waits for another:
// the number of components at least halves in every pass, whatever the distances are. ties.h decides where the last
// edge that is kept is as long as the first one that is not.
#pragma once
#include "numbers.h"
#include "space.h"

template <class L, class Thread> struct Tree {
    typedef typename L::Key Key;
    typedef Space<L> S;
    static ATC_DEVICE Key none() { return ~Key(0); }

    Thread& thread;
    const Job& job;
    const i64 image;
    const int tokens, needed;  // N and N - K
    const S space;

    Key* const near_key;    // of a token: its lowest edge out of the component; valid while that leads out
    Key* const best_key;    // of a component, at the token that names it
    Key* const edge_key;    // [N-1] of the tree
    u32* const near_slot;   // the token itself if nothing is known
    u32* const best_pair;   // smaller slot << 16 | larger slot
    u32* const edge_pair;   // [N-1]
    u32* const component;   // the token that names it
    u32* const next;        // the component that this one joins, or itself
    u32* const below;       // forest of the edges below the cut; roots are the largest of their trees: slots
    u32* const at_cut;      // forest of these and the edges at the cut
    u32* const slot;        // of a token, before the merges at the cut
    u32* const going;       // whether a slot disappears in the merges at the cut, were all of them made
    u32* const joined;      // forest of the slots that do disappear
    u32* const beyond;      // the smallest slot that stays of those as near as the cut to one of the tree
    u32* const first;
    int edges = 0, passes = 0;

    ATC_DEVICE Tree(Thread& thread, const Job& job, i64 image, unsigned char* memory)
        : thread(thread), job(job), image(image), tokens(int(job.tokens)),
          needed(job.keep < job.tokens ? int(job.tokens - job.keep) : 0), space(memory, int(job.tokens)),
          near_key(space.key_array(0)), best_key(space.key_array(1)), edge_key(space.key_array(2)),
          near_slot(space.array(0)), best_pair(space.array(1)), edge_pair(space.array(2)), component(space.array(3)),
          next(space.array(4)), below(space.array(5)), at_cut(space.array(6)), slot(space.array(7)),
          going(space.array(8)), joined(space.array(9)), beyond(space.array(10)), first(space.array(11)) {}

    ATC_DEVICE void run() {
        prepare();
        if (needed) load_cells(space, thread, job, image);
        thread.sync();
        if (needed) {
            while (edges < tokens - 1) grow();
            rank_edges();
            thread.sync();
            cut(*this);
        }
        write_counters();
        number_clusters(thread, tokens, slot, first, next, job.labels + image * tokens);
        thread.sync();  // the next image takes the same memory
    }

    ATC_DEVICE void prepare() {
        clear_words(space, thread);
        for (int x = thread.index; x < tokens; x += thread.threads) {
            near_slot[x] = component[x] = below[x] = at_cut[x] = slot[x] = joined[x] = u32(x);
            best_key[x] = none();
            best_pair[x] = beyond[x] = first[x] = ~0u;
        }
    }

    ATC_DEVICE void grow() {
        for (int x = thread.warp; x < tokens; x += thread.warps) find_near(x);
        thread.sync();
        for (int x = thread.index; x < tokens; x += thread.threads)
            if (near_key[x] == best_key[component[x]]) propose(component[x], u32(x), near_slot[x]);
        thread.sync();
        for (int a = thread.index; a < tokens; a += thread.threads) {
            if (component[a] != u32(a)) continue;
            const u32 one = component[best_pair[a] >> 16], other = component[best_pair[a] & 0xFFFF];
            const u32 b = one == u32(a) ? other : one;
            const bool mine = best_pair[b] != best_pair[a] || u32(a) < b;  // of two that choose the same edge, one does
            next[a] = mine ? b : u32(a);
            if (!mine) continue;
            const u32 e = thread.atomic_add(&space.word[S::PAIRS], 1);
            edge_key[e] = best_key[a];
            edge_pair[e] = best_pair[a];
        }
        thread.sync();
        edges = int(space.word[S::PAIRS]);
        passes++;
        for (int x = thread.index; x < tokens; x += thread.threads) {
            u32 c = component[x];
            while (next[c] != c) c = next[c];
            component[x] = c;
            best_key[x] = none();
            best_pair[x] = ~0u;
        }
        thread.sync();
    }

    ATC_DEVICE void propose(u32 to, u32 a, u32 b) {
        thread.atomic_min(&best_pair[to], a < b ? a << 16 | b : b << 16 | a);
    }

    // A warp a token. Its lowest edge out leads to the smallest slot of the lowest key.
    ATC_DEVICE void find_near(int x) {
        const u32 mine = component[x];
        Key key = read_by_warp(thread, &near_key[x]);
        if (component[read_by_warp(thread, &near_slot[x])] == mine) {
            const Key* const row = space.row(x);
            key = none();
            u32 at = ~0u;
            for (int begin = thread.lane; begin < tokens; begin += 4 * Thread::LANES) {
                Key cell[4];
                for (int i = 0; i < 4; i++) {
                    const int c = begin + i * Thread::LANES;
                    cell[i] = c < tokens && component[c] != mine ? row[c] : none();
                }
                for (int i = 0; i < 4; i++)
                    if (cell[i] < key) key = cell[i], at = u32(begin + i * Thread::LANES);
            }
            const Key least = least_of_warp(thread, key);
            at = thread.least(key == least ? at : ~0u);
            key = least;
            if (thread.lane == 0) {
                near_key[x] = key;
                near_slot[x] = at;
                if (job.counters) thread.atomic_add(space.scanned, u64(tokens));
            }
        }
        if (thread.lane == 0) thread.atomic_min(&best_key[mine], key);
    }

    // A warp an edge: how many are lower. The N-K lowest are the merges.
    ATC_DEVICE void rank_edges() {
        for (int m = thread.warp; m < edges; m += thread.warps) {
            const Key key = edge_key[m];
            const u32 pair = edge_pair[m];
            int lower = 0;
            for (int begin = 0; begin < edges; begin += Thread::LANES) {
                const int e = begin + thread.lane;
                const bool is = e < edges && (edge_key[e] < key || (edge_key[e] == key && edge_pair[e] < pair));
                lower += thread.count(thread.ballot(is));
            }
            if (thread.lane == 0 && lower == needed - 1) space.word[S::CUT] = u32(m);
            if (thread.lane == 0 && lower == needed) space.word[S::NEXT] = u32(m);
        }
    }

    ATC_DEVICE void write_counters() {
        if (thread.index != 0 || !job.counters) return;
        i64* const counters = job.counters + 4 * image;
        counters[0] = passes;
        counters[1] = edges;
        counters[2] = i64(*space.scanned);
        counters[3] = 0;
    }
};

#include "ties.h"

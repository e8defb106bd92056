// Single linkage by a minimum spanning tree (Prim 1957): N passes over a row, whatever the number of clusters.
#pragma once

#include "prepare.h"

namespace ATC_ISA {

// The tree's edges, kept as (key, end, end); [tokens - 1] of each.
template <class Key> struct Tree {
    Key* key;
    int32_t* from;
    int32_t* to;
};

template <class Key>
void span(const Square<Key>& square, Key* best, Slots<Key>* origin, Key* done, Tree<Key> tree) {
    constexpr int W = Lanes<Key>::width;
    for (int k = 0; k < square.padded; k++) {
        best[k] = Lanes<Key>::last;
        origin[k / W] = Slots<Key>{};
        done[k] = k < square.tokens ? Lanes<Key>::first : Lanes<Key>::last;
    }
    done[0] = Lanes<Key>::last;
    int current = 0;
    for (int edge = 0; edge + 1 < square.tokens; edge++) {
        const Key* row = square.row(current);
        Slots<Key> from = Slots<Key>{} + current;
        FirstLeast<Key> nearest;
        for (int k = 0; k < square.padded; k += W) {
            Vector<Key> candidate = larger(load<Vector<Key>>(row + k), load<Vector<Key>>(done + k));
            Vector<Key> known = load<Vector<Key>>(best + k);
            Slots<Key> closer = candidate < known;
            known = smaller(candidate, known);
            store(best + k, known);
            origin[k / W] = closer ? from : origin[k / W];
            nearest.offer(known);
        }
        Nearest<Key> found = nearest.found();
        tree.key[edge] = found.key;
        current = found.slot;
        tree.from[edge] = (int32_t)origin[current / W][current % W];
        tree.to[edge] = current;
        best[current] = done[current] = Lanes<Key>::last;
    }
}

// The `rank`-th smallest of `count` keys, from 0; reorders them (Hoare 1961).
template <class Key> Key select(Key* keys, int count, int rank) {
    int left = 0, right = count - 1;
    while (left < right) {
        Key pivot = keys[left + (right - left) / 2];
        int i = left - 1, j = right + 1;
        for (;;) {
            while (keys[++i] < pivot) {}
            while (keys[--j] > pivot) {}
            if (i >= j) break;
            Key other = keys[i];
            keys[i] = keys[j];
            keys[j] = other;
        }
        if (rank <= j) right = j;
        else left = j + 1;
    }
    return keys[rank];
}

inline int32_t root_of(int32_t* parent, int32_t slot) {
    while (parent[slot] != slot) slot = parent[slot] = parent[parent[slot]];
    return slot;
}

// Joins the `merges` shortest edges in `parent`; false if they are not determined, because the next one is as
// long: then the order of merging decides which of them come first. Ties among the shortest do not matter,
// since all of them are joined whichever tree was found.
template <class Key> bool join_shortest(Tree<Key> tree, int tokens, int merges, Key* scratch, int32_t* parent) {
    int edges = tokens - 1, within = 0;
    memcpy(scratch, tree.key, sizeof(Key) * edges);
    Key longest = select(scratch, edges, merges - 1);
    for (int edge = 0; edge < edges; edge++) within += tree.key[edge] <= longest;
    if (within != merges) return false;
    for (int edge = 0; edge < edges; edge++) {
        if (tree.key[edge] > longest) continue;
        int32_t a = root_of(parent, tree.from[edge]), b = root_of(parent, tree.to[edge]);
        parent[a < b ? a : b] = a < b ? b : a;
    }
    return true;
}

}  // namespace ATC_ISA

// Single linkage of few merges: the shortest edges of a minimum spanning tree, from two passes over the upper triangle.
//
// A bound that enough of the tree's edges do not exceed comes from the tokens' nearest neighbours: among the 2m nearest
// tokens are at least m different edges, all of them the tree's. The algorithm of Boruvka (1926) then has only edges up
// to the bound to look at. They are few and unordered, so that the code avoids branches that depend on their places.
#pragma once

#include "nearest.h"
#include "single_prim.h"

namespace ATC_ISA {

// An edge between trees, known by a token of each.
template <class Value> struct Edge {
    Value key;
    int32_t a, b, number;
};

template <class Value> struct Shortest {
    static constexpr int W = Lanes<Value>::width, slack = 4;

    const Value* image;
    int64_t stride;
    int tokens, padded;
    Value* nearest;      // [padded] of pass one
    Value* later;        // [padded] of pass one
    Tree<Value> tree;    // the edges found; the first `pairs` are of nearest neighbours
    int32_t *from, *to;  // [room] edges up to the bound
    Edge<Value>* edges;  // [room] those between different trees
    int room;            // more than tokens + slack
    Value* best;         // [tokens] the shortest edge from each tree,
    int32_t* best_edge;  // [tokens] and which it is
    int32_t* hook;       // [tokens] the tree it leads to; of two that lead to each other, the larger's is itself
    int32_t* partner;    // [tokens] likewise, of single tokens: the nearest neighbour
    int32_t* parent;     // [tokens] of the trees so far
    int found = 0, pairs = 0;
    int64_t cells = 0;

    // Pass two: the tree's edges up to a bound. False if there is no room. Of equal edges the first counts as shorter.
    bool span(Value bound) {
        int count = collect(bound);
        if (count < 0) return false;
        int left = join_neighbours(count, bound);
        while (left) left = join_trees(left);
        return true;
    }
    // Joins the `merges` shortest edges in `parent`; false if the next one is as long as the last.
    bool join(int merges) {
        int whole = (found + W - 1) / W * W;
        for (int n = found; n < whole; n++) tree.key[n] = Lanes<Value>::last;
        Value longest = bound_for(tree.key, found, whole, merges, merges);
        if (longest == Lanes<Value>::last) return false;
        follow_partners(longest);
        for (int n = pairs; n < found; n++) {
            if (tree.key[n] > longest) continue;
            int32_t a = root_of(parent, tree.from[n]), b = root_of(parent, tree.to[n]);
            parent[a < b ? a : b] = a < b ? b : a;
        }
        point_to_roots();
        return true;
    }

  private:
    // Writes all edges up to the bound; how many, or -1 if there is no room.
    int collect(Value bound) {
        int edges = 0;
        Vector<Value> limit = spread<Value>(bound);
        for (int i = 0; i < tokens; i++) {
            if (later[i] > bound) continue;
            if (edges + tokens + slack > room) return -1;
            const Value* row = image + i * stride;
            int left = (i + 1) / W * W, start = left, shift = 0;
            uint64_t near = 0, wanted = ~uint64_t(0) << (i + 1 - left);
            cells += tokens - left;
            for (; left + W <= tokens; left += W) {
                near |= (uint64_t)bits(load<Vector<Value>>(row + left) <= limit) << shift;
                shift += W;
                if (shift < 64) continue;
                edges = write(i, start, near & wanted, edges);
                start = left + W, shift = 0, near = 0, wanted = ~uint64_t(0);
            }
            if (left < tokens) {
                uint64_t tail = bits(load_first(row + left, tokens - left) <= limit);
                near |= (tail & ((1u << (tokens - left)) - 1)) << shift;
            }
            edges = write(i, start, near & wanted, edges);
        }
        return edges;
    }
    // As many as are frequent are written whether they are there or not.
    inline int write(int i, int start, uint64_t near, int edges) {
        int count = __builtin_popcountll(near), n = edges;
        for (int k = 0; k < slack; k++, n++) {
            from[n] = i;
            to[n] = start + __builtin_ctzll(near | uint64_t(1) << 63);
            near &= near - 1;
        }
        for (; near; near &= near - 1, n++) {
            from[n] = i;
            to[n] = start + __builtin_ctzll(near);
        }
        return edges + count;
    }
    inline void take(Value key, int32_t a, int32_t b, int wanted) {
        tree.key[found] = key;
        tree.from[found] = a;
        tree.to[found] = b;
        found += wanted;
    }
    // Joins each token to its nearest; how many edges are left between trees.
    int join_neighbours(int count, Value bound) {
        found = 0;
        for (int k = 0; k < tokens; k++) partner[k] = -1;
        for (int n = 0; n < count; n++) {
            int32_t a = from[n], b = to[n];
            Value key = image[a * stride + b];
            int of_a = (key == nearest[a]) & (partner[a] < 0), of_b = (key == nearest[b]) & (partner[b] < 0);
            partner[a] = of_a ? b : partner[a];
            partner[b] = of_b ? a : partner[b];
            edges[n] = {key, a, b, n};
            take(key, a, b, of_a | of_b);
        }
        pairs = found;
        for (int k = 0; k < tokens; k++) {
            int32_t other = partner[k] < 0 ? k : partner[k];
            hook[k] = (partner[other] == k) & (k > other) ? k : other;
        }
        memcpy(partner, hook, sizeof(int32_t) * tokens);
        follow_partners(bound);
        int left = 0;
        for (int n = 0; n < count; n++) {
            Edge<Value> edge = edges[n];
            edges[left] = {edge.key, parent[edge.a], parent[edge.b], n};
            left += parent[edge.a] != parent[edge.b];
        }
        return left;
    }
    // Joins each tree to the one that its shortest edge leads to; how many edges are left between trees.
    int join_trees(int count) {
        for (int n = 0; n < count; n++) best[edges[n].a] = best[edges[n].b] = Lanes<Value>::last;
        for (int n = 0; n < count; n++) {
            Edge<Value> edge = edges[n];
            int shortest = edge.key < best[edge.a];
            best[edge.a] = shortest ? edge.key : best[edge.a];
            best_edge[edge.a] = shortest ? n : best_edge[edge.a];
            shortest = edge.key < best[edge.b];
            best[edge.b] = shortest ? edge.key : best[edge.b];
            best_edge[edge.b] = shortest ? n : best_edge[edge.b];
        }
        for (int n = 0; n < count; n++) {
            Edge<Value> edge = edges[n];
            int of_a = best_edge[edge.a] == n, of_b = best_edge[edge.b] == n;
            hook[edge.a] = of_a ? (of_b & (edge.a > edge.b) ? edge.a : edge.b) : hook[edge.a];
            hook[edge.b] = of_b ? (of_a & (edge.b > edge.a) ? edge.b : edge.a) : hook[edge.b];
            take(edge.key, from[edge.number], to[edge.number], of_a | of_b);
        }
        for (int32_t changed = 1; changed;) {
            changed = 0;
            for (int n = 0; n < count; n++) {
                int32_t a = edges[n].a, b = edges[n].b, above_a = hook[hook[a]], above_b = hook[hook[b]];
                changed |= (above_a ^ hook[a]) | (above_b ^ hook[b]);
                hook[a] = above_a;
                hook[b] = above_b;
            }
        }
        int left = 0;
        for (int n = 0; n < count; n++) {
            Edge<Value> edge = edges[n];
            edges[left] = {edge.key, hook[edge.a], hook[edge.b], edge.number};
            left += hook[edge.a] != hook[edge.b];
        }
        return left;
    }
    // The trees of nearest neighbours that are up to a bound away.
    void follow_partners(Value bound) {
        for (int k = 0; k < tokens; k++) parent[k] = nearest[k] <= bound ? partner[k] : k;
        point_to_roots();
    }
    void point_to_roots() {  // ways there halve with each round
        for (int32_t changed = 1; changed;) {
            changed = 0;
            for (int k = 0; k < tokens; k++) {
                int32_t up = parent[parent[k]];
                changed |= up ^ parent[k];
                parent[k] = up;
            }
        }
    }
};

// Fills the tree with at least `merges` edges, the shortest there are; at most half as many as tokens.
template <class Value> bool span_shortest(Shortest<Value>& shortest, int merges) {
    // Tokens that are each other's nearest share an edge, hence twice as many; the fewer are left, the more edges there
    // are between others. The first guess is mostly enough.
    int64_t tokens = shortest.tokens, keep = tokens - merges, certain = 2 * merges < tokens ? 2 * merges : tokens;
    int64_t guess = merges * (17 * tokens + 20 * keep) / (20 * tokens);
    const int ranks[] = {(int)guess, (int)((guess + certain) / 2), (int)certain};
    for (int rank : ranks) {
        Value bound = bound_for(shortest.nearest, shortest.tokens, shortest.padded, rank, rank + rank / 16);
        if (bound == Lanes<Value>::last || !shortest.span(bound)) return false;
        if (shortest.found >= merges) return true;
    }
    return false;  // not reached where as many tokens are left: the last bound is certain
}

}  // namespace ATC_ISA

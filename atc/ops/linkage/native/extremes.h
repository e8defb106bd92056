// Single and complete linkage: a merged distance is the smallest or largest of the two, so keys are all that matters.
#pragma once

#include "greedy.h"
#include "prepare.h"

namespace ATC_ISA {

template <class KeyType, bool largest> struct Extremes {
    using Key = KeyType;
    static constexpr int W = Lanes<Key>::width;

    Square<Key>& square;
    Key* dead;  // [padded] larger than every key where the slot is dead, smaller where it is alive

    Extremes(Square<Key>& square, Key* dead) : square(square), dead(dead) {
        for (int k = 0; k < square.padded; k++) dead[k] = k < square.tokens ? Lanes<Key>::first : Lanes<Key>::last;
    }
    template <class T> static inline T joined(T a, T b) { return largest == (a > b) ? a : b; }

    inline void bounded(int, Key) {}
    inline void replay(int slot, const State<Key>& state, int from, int to) {
        Key* row = square.row(slot);
        const Merge* log = state.log;
        for (int t = from; t < to; t++) row[log[t].high] = joined(row[log[t].low], row[log[t].high]);
    }
    inline Ints<Key> living(const Key* row, int k) const {
        return larger(load<Ints<Key>>(row + k), load<Ints<Key>>(dead + k));
    }
    inline Nearest<Key> scan(int slot) {
        const Key* row = square.row(slot);
        Least<Key> best;
        for (int k = 0; k < square.padded; k += W) best.offer(living(row, k));
        return {best.key(), first_equal(best.key(), [&](int k) { return living(row, k); })};
    }
    inline Nearest<Key> join(int low, int high, int, State<Key>&) {
        Key* one = square.row(low);
        Key* other = square.row(high);
        dead[low] = Lanes<Key>::last;
        other[low] = one[high] = Lanes<Key>::last;  // no cluster is its own neighbour
        Least<Key> best;
        for (int k = 0; k < square.padded; k += W) {
            Ints<Key> a = load<Ints<Key>>(one + k), b = load<Ints<Key>>(other + k);
            Ints<Key> both = largest ? larger(a, b) : smaller(a, b);
            store(other + k, both);
            best.offer(larger(both, load<Ints<Key>>(dead + k)));
        }
        return {best.key(), first_equal(best.key(), [&](int k) { return living(other, k); })};
    }
};

}  // namespace ATC_ISA

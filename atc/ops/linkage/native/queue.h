// Keys whose first smallest is read often, while few change in between.
#pragma once

#include "keys.h"

namespace ATC_ISA {

template <class Key> struct Queue {
    static constexpr int W = Lanes<Key>::width, block = 32;

    Key* key;       // [padded] `last` where there is nothing
    Key* smallest;  // [blocks, padded to whole vectors] of each block of keys
    int padded;     // a multiple of `block`
    int blocks;     // a multiple of the width

    static int padded_for(int tokens) { return (tokens + block - 1) / block * block; }
    static int blocks_for(int tokens) { return (padded_for(tokens) / block + W - 1) / W * W; }

    void rebuild() {
        for (int b = 0; b < blocks; b++) smallest[b] = b * block < padded ? least_in(b) : Lanes<Key>::last;
    }
    inline void set(int slot, Key value) {
        key[slot] = value;
        smallest[slot / block] = least_in(slot / block);
    }
    inline int first() const {
        Least<Key> all;
        for (int b = 0; b < blocks; b += W) all.offer(load<Vector<Key>>(smallest + b));
        Key wanted = all.key();
        int b = first_equal(wanted, [&](int k) { return load<Vector<Key>>(smallest + k); });
        const Key* keys = key + b * block;
        return b * block + __builtin_ctz(equal_among<block>(wanted, [&](int k) { return load<Vector<Key>>(keys + k); }));
    }
    // Whether no key but those of these two slots is `most` or less.
    inline bool none_up_to(Key most, int one, int other) const {
        Vector<Key> bound = Vector<Key>{} + most;
        int blocks_near = 0, of_one = one / block, of_other = other / block, same = of_one == of_other;
        for (int first = 0; first < blocks; first += W)
            blocks_near += __builtin_popcount(bits(load<Vector<Key>>(smallest + first) <= bound));
        int blocks_known = (smallest[of_one] <= most) + (!same & (smallest[of_other] <= most));
        unsigned bit_one = 1u << one % block, bit_other = 1u << other % block;
        unsigned near_one = up_to(bound, of_one) & ~bit_one, near_other = up_to(bound, of_other) & ~bit_other;
        near_one &= ~(same ? bit_other : 0);
        near_other &= ~(same ? bit_one : 0);
        return (blocks_near == blocks_known) & !(near_one | near_other);
    }
    // The slots of keys up to `most`, in ascending order; how many.
    int up_to(Key most, int32_t* slots) const {
        int found = 0;
        for (int k = 0; k < padded; k++)
            if (key[k] <= most) slots[found++] = k;
        return found;
    }

  private:
    inline unsigned up_to(Vector<Key> bound, int b) const {
        unsigned found = 0;
        for (int k = 0; k < block; k += W) found |= bits(load<Vector<Key>>(key + b * block + k) <= bound) << k;
        return found;
    }
    inline Key least_in(int b) const {
        Least<Key> all;
        for (int k = 0; k < block; k += W) all.offer(load<Vector<Key>>(key + b * block + k));
        return all.key();
    }
};

}  // namespace ATC_ISA

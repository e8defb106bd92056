// Keys of which the first smallest is wanted again and again, while few change in between.
#pragma once

#include "keys.h"

namespace ATC_ISA {

template <class Key> struct Queue {
    static constexpr int W = Lanes<Key>::width, block = 32;

    Key* key;      // [padded] `last` where there is nothing
    Key* smallest; // [blocks, padded to whole vectors] of each block of keys
    int padded;    // a multiple of `block`
    int blocks;    // a multiple of the width

    static int padded_for(int tokens) { return (tokens + block - 1) / block * block; }
    static int blocks_for(int tokens) { return (padded_for(tokens) / block + W - 1) / W * W; }

    void rebuild() {
        for (int b = 0; b < blocks; b++) smallest[b] = b * block < padded ? least_of(b) : Lanes<Key>::last;
    }
    inline void set(int slot, Key value) {
        key[slot] = value;
        smallest[slot / block] = least_of(slot / block);
    }
    inline int first() const {
        Least<Key> all;
        for (int b = 0; b < blocks; b += W) all.offer(load<Ints<Key>>(smallest + b));
        Key wanted = all.key();
        int b = first_equal(wanted, [&](int k) { return load<Ints<Key>>(smallest + k); });
        const Key* keys = key + b * block;
        return b * block + first_equal(wanted, [&](int k) { return load<Ints<Key>>(keys + k); });
    }

  private:
    inline Key least_of(int b) const {
        Least<Key> all;
        for (int k = 0; k < block; k += W) all.offer(load<Ints<Key>>(key + b * block + k));
        return all.key();
    }
};

}  // namespace ATC_ISA

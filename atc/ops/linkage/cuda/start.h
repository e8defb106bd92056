// The beginning of the block algorithm: the input, read once, and the nearest neighbour of every token.
#pragma once

template <class Block> ATC_DEVICE void prepare(Block& b) {
    for (int x = b.thread.index; x < b.tokens; x += b.thread.threads) {
        b.height[x] = b.nearest[x] = Block::none();
        b.neighbour[x] = b.parent[x] = b.live[x] = u16(x);
        b.size[x] = 1;
        b.role[x] = Block::UNTOUCHED;
    }
    if (b.thread.index == 0) {
        b.word[Block::PAIRS] = b.word[Block::CUT] = 0;
        b.word[Block::LOWEST] = b.word[Block::BELOW] = Spread::NOTHING;
    }
}

// Rows of the input into the columns of the triangle, and the nearest of the larger slots on the way.
template <class Block> ATC_DEVICE void load(Block& b) {
    typedef typename Block::Linkage L;
    const typename L::Input* const image = (const typename L::Input*)b.job.distance + b.image * b.job.image_stride;
    Spread spread;
    for (int x = b.thread.warp; x < b.tokens; x += b.thread.warps) {
        const typename L::Input* const from = image + x * b.job.row_stride;
        typename Block::Best best = b.alone(x);
        for (int c = x + 1 + b.thread.lane; c < b.tokens; c += b.thread.LANES) {
            const typename L::Input value = from[c * b.job.column_stride];
            if (L::METHOD == AVERAGE) spread.add(value);
            const typename L::Cell cell = L::cell(value);
            b.cells[b.at(x, c)] = cell;
            best.offer(L::key(cell, 1), c);
        }
        b.note_nearest(x, b.least(best));
    }
    if (L::METHOD == AVERAGE) {
        const u32 lowest = b.thread.least(spread.lowest), below = b.thread.least(spread.below);
        if (b.thread.lane == 0) {
            b.thread.atomic_min(&b.word[Block::LOWEST], lowest);
            b.thread.atomic_min(&b.word[Block::BELOW], below);
        }
    }
}

// The nearest of the smaller slots: rows of the triangle. Of two slots equally near the smaller one counts as nearer.
template <class Block> ATC_DEVICE void scan_loaded(Block& b) {
    typedef typename Block::Linkage L;
    if (L::METHOD == AVERAGE) {
        Spread spread;
        spread.lowest = b.word[Block::LOWEST];
        spread.below = b.word[Block::BELOW];
        b.exact = spread.exact(b.tokens);
    }
    for (int x = b.thread.warp; x < b.tokens; x += b.thread.warps) {
        typename Block::Best best = b.alone(x);
        for (int c = b.thread.lane; c < x; c += b.thread.LANES) best.offer(L::key(b.cells[b.at(x, c)], 1), c);
        best = b.least(best);
        if (b.thread.lane == 0 && best.key != Block::none() && best.key <= b.nearest[x]) b.note_nearest(x, best);
    }
    b.scanned = i64(b.tokens) * (b.tokens - 1);
}

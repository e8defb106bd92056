"""Distance matrices that clustering has trouble with, each ``[N, N]`` float32 and symmetric."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def cosine(x: Tensor) -> Tensor:
    unit = x / x.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return 1 - unit @ unit.mT


def features(tokens: int, seed: int) -> Tensor:
    """Independent features: nothing is close to anything."""
    return cosine(torch.randn(tokens, 16, generator=generator(seed)))


def regions(tokens: int, seed: int) -> Tensor:
    """A few regions with noise, as in an image."""
    random = generator(seed)
    centres = torch.randn(6, 32, generator=random)
    which = torch.randint(6, (tokens,), generator=random).sort().values
    return cosine(centres[which] + 0.3 * torch.randn(tokens, 32, generator=random))


def duplicates(tokens: int, seed: int) -> Tensor:
    """Each token several times, so that round-off makes some distances negative."""
    random = generator(seed)
    few = torch.randn(tokens // 3 + 1, 8, generator=random)
    return cosine(few[torch.randint(len(few), (tokens,), generator=random)])


def all_equal(tokens: int, seed: int) -> Tensor:
    return torch.full((tokens, tokens), 0.5)


def star(tokens: int, seed: int) -> Tensor:
    """All spokes have the hub as their nearest neighbour, and it changes at every merge."""
    distance = 1 + symmetric(torch.rand(tokens, tokens, generator=generator(seed)))
    hub = seed % tokens
    distance[hub] = distance[:, hub] = torch.linspace(0.1, 0.9, tokens)
    return distance


def growing_gaps(tokens: int, seed: int) -> Tensor:
    """Points on a line, ever farther apart: one chain of merges."""
    point = torch.cumsum(1.01 ** torch.arange(tokens, dtype=torch.float64), 0).float()
    return (point[:, None] - point).abs()


def few_values(tokens: int, seed: int) -> Tensor:
    """Ties everywhere."""
    return symmetric(torch.randint(-1, 4, (tokens, tokens), generator=generator(seed)).float())


def near_ties(tokens: int, seed: int) -> Tensor:
    """Closer to each other than float32 means are exact, on the grid of cosine distances."""
    steps = torch.randint(200, (tokens, tokens), generator=generator(seed))
    return symmetric(0.5 + steps * 2.0**-24)


def near_ties_off_grid(tokens: int, seed: int) -> Tensor:
    """The same where float64 sums round too."""
    return symmetric(0.3 * (1 + 3e-6 * torch.rand(tokens, tokens, generator=generator(seed))))


def half(tokens: int, seed: int) -> Tensor:
    return features(tokens, seed).half().float()


def wide_range(tokens: int, seed: int) -> Tensor:
    """Magnitudes so far apart that no sum of them is exact, among zeros of either sign."""
    random = generator(seed)
    value = torch.exp(60 * torch.rand(tokens, tokens, generator=random) - 30)
    sign = torch.randint(-1, 3, (tokens, tokens), generator=random).float()
    return symmetric(value * sign)


def infinities(tokens: int, seed: int) -> Tensor:
    random = generator(seed)
    distance = features(tokens, seed)
    distance[torch.rand(tokens, tokens, generator=random) < 0.3] = torch.inf
    distance[torch.rand(tokens, tokens, generator=random) < 0.05] = -torch.inf
    return symmetric(distance)


def few_values_and_infinity(tokens: int, seed: int) -> Tensor:
    distance = few_values(tokens, seed)
    distance[torch.rand(tokens, tokens, generator=generator(seed)) < 0.1] = torch.inf
    return symmetric(distance)


def not_numbers(tokens: int, seed: int) -> Tensor:
    random = generator(seed)
    distance = infinities(tokens, seed)
    distance[torch.rand(tokens, tokens, generator=random) < 0.3] = torch.nan
    distance[torch.rand(tokens, tokens, generator=random) < 0.1] = -torch.nan
    if tokens > 1:
        distance[0, 1] = torch.nan
    return symmetric(distance)


def thirds(distance: Tensor) -> Tensor:
    """The same in float64, a third as large: ties whose sums round, so that means of equals are not all equal."""
    return distance.double() / 3


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def symmetric(distance: Tensor) -> Tensor:
    above = distance.triu(1)
    return torch.where(torch.ones_like(distance).triu(1) > 0, above, above.mT)


KINDS: dict[str, Callable[[int, int], Tensor]] = {
    kind.__name__: kind
    for kind in (
        features,
        regions,
        duplicates,
        all_equal,
        star,
        growing_gaps,
        few_values,
        near_ties,
        near_ties_off_grid,
        half,
        wide_range,
        infinities,
        few_values_and_infinity,
        not_numbers,
    )
}
FINITE = [name for name in KINDS if name not in ("infinities", "few_values_and_infinity", "not_numbers")]


def batch(tokens: int, kinds: list[str] | None = None, seed: int = 0) -> Tensor:
    """One image of each kind, ``[len(kinds), N, N]``."""
    return torch.stack([KINDS[kind](tokens, seed + i) for i, kind in enumerate(kinds or KINDS)])

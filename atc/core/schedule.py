"""How many tokens to keep, at which blocks. Blocks are 1-based, counts are of patch tokens (no prefix)."""

import functools
import itertools
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from typing_extensions import override

from atc.core.counts import StageCount as StageCount
from atc.core.counts import Step, check_stages, nearest_counts
from atc.values import Blocks, Count, KeepRates, Thresholds, Whole, checked


class Schedule(ABC):
    """Turns N0 source patches and a depth into one `StageCount` per reducing block.

    Args:
        as_released: count as the authors' code does instead of as the papers state (see the subclasses).
        clamp: where a method cannot reach a count, take the nearest it can instead of raising. A miss by a single
            token is always taken, and reported. Implied by `as_released`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check the arguments of every schedule against their annotations."""
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = checked(cls.__init__)  # type: ignore[method-assign]  # the same function, behind a check

    @checked
    def __init__(self, *, as_released: bool = False, clamp: bool = False):
        self.as_released = as_released
        self.clamp = clamp or as_released

    @abstractmethod
    def _steps(self, num_tokens: int, depth: int, extra: int, surplus: int) -> Iterator[Step]:
        """The reducing blocks in order; `extra` and `surplus` as in `resolve`."""

    def resolve(
        self,
        num_tokens: int,
        depth: int,
        least: Callable[[int], int] = lambda _: 1,
        *,
        extra: int = 0,
        surplus: int = 0,
        name: str = "the reducer",
        possible: Sequence[int] | None = None,
        most: Callable[[int, int], int] | None = None,
    ) -> list[StageCount]:
        """The counts for `num_tokens` patches and `depth` blocks.

        Args:
            num_tokens: N0.
            depth: blocks of the backbone.
            least: from n tokens to the fewest of them that the method can leave.
            extra: tokens it adds beyond `keep` (EViT).
            surplus: tokens the authors' every-block code leaves too many.
            name: of the method, for messages.
            possible: the only counts that it can leave, ascending; None: any. See `nearest_counts`.
            most: from the number of a stage, 1-based, and its n tokens to the most of them that a method which stops at
                a threshold leaves; None: n.

        Returns:
            One for each reducing block, in order.

        Raises:
            ValueError: a count further than one token out of reach, unless clamping.
        """
        if possible is not None:
            steps = self._steps(num_tokens, depth, extra, surplus)
            return nearest_counts(steps, num_tokens, possible, self.clamp, name)
        counts, patches = [], num_tokens
        for stage, (block, wanted, rate, threshold) in enumerate(self._steps(num_tokens, depth, extra, surplus), 1):
            target = wanted(num_tokens)
            if threshold is not None:
                target = num_tokens if most is None else min(num_tokens, most(stage, num_tokens))
            keep = min(max(target, least(num_tokens)), num_tokens)
            if keep - target > 1 and not self.clamp:
                raise ValueError(
                    f"{name} cannot leave {target} of {num_tokens} tokens at block {block}: it reaches {keep} at "
                    f"the fewest; ask for fewer removals, or set clamp=true (schedule.clamp=true) to take {keep}"
                )
            share = target / patches if rate is None else rate
            counts.append(StageCount(block, num_tokens, target, keep, share, threshold))
            num_tokens = keep + extra if keep < num_tokens else num_tokens
        return counts


class Stages(Schedule):
    """Keep rate r at each of a few blocks: `max(1, int(N0 * r**s))` tokens after stage s = 1, 2, ...

    The setting of both papers: r**s of the *original* patches, truncated (arXiv 2308.04657, Sec. 3; arXiv
    2409.11923, Sec. 4). as_released: a stage removes as many tokens as lie between two *nominal* counts, so a
    method that fell behind stays behind (ToMe at r = .25 gives 98, 61, 52 of 196).

    Args:
        keep_rate: one share for all stages, or a list of the shares that each of them keeps, multiplied from left to
            right: [.9, .7, .5] of 196 leaves int(196 * .9), int(196 * .9 * .7), int(196 * .9 * .7 * .5).
        blocks: the reducing blocks, 1-based, ascending.
        keep: explicit token counts, one per block, instead of a keep rate.
        of: "original" (None is the same) counts shares of the source patches, as above; "current" those of the tokens
            that reach the stage, truncated every time (as the authors' detectors do).
        threshold: instead of a keep rate or counts, the distance up to which a method with `by_threshold` merges, one
            for all stages or one each: how many tokens are left is then for each image to say.
        as_released: see above.
        clamp: see `Schedule`.

    Raises:
        ValueError: none or more than one of `keep_rate`, `keep` and `threshold`, or not one value for each block.

    Examples:
        >>> [count.keep for count in Stages(0.7).resolve(196, depth=12)]
        [137, 96, 67]
        >>> [count.keep for count in Stages([0.9, 0.7, 0.5]).resolve(196, depth=12)]
        [176, 123, 61]
        >>> [count.keep for count in Stages(0.7, of="current").resolve(196, depth=12)]
        [137, 95, 66]
    """

    def __init__(
        self,
        keep_rate: KeepRates | None = None,
        blocks: Blocks = (4, 7, 10),
        keep: Sequence[Count] | None = None,
        *,
        of: Literal["original", "current"] | None = "original",
        threshold: Thresholds | None = None,
        as_released: bool = False,
        clamp: bool = False,
    ):
        super().__init__(as_released=as_released, clamp=clamp)
        self.blocks, self.of = tuple(blocks), of or "original"
        check_stages(keep_rate, keep, threshold, self.blocks, self.of)
        self.keep_rate = tuple(keep_rate) if isinstance(keep_rate, Sequence) else keep_rate
        self.keep = None if keep is None else tuple(keep)
        self.threshold = tuple(threshold) if isinstance(threshold, Sequence) else threshold

    def _shares(self) -> tuple[float, ...]:
        """What each stage keeps of what the stage before kept."""
        assert self.keep_rate is not None
        return self.keep_rate if isinstance(self.keep_rate, tuple) else (self.keep_rate,) * len(self.blocks)

    def _rates(self) -> list[float] | list[None]:
        """The share of the source patches that each stage is asked for; None for counts."""
        if self.keep_rate is None:
            return [None] * len(self.blocks)
        if isinstance(self.keep_rate, float | int):
            return [self.keep_rate**stage for stage in range(1, len(self.blocks) + 1)]
        return list(itertools.accumulate(self.keep_rate, operator.mul))

    def _targets(self, num_tokens: int) -> list[int]:
        """The tokens that each stage is asked for, of so many source patches."""
        if self.keep is not None:
            return list(self.keep)
        if isinstance(self.keep_rate, float | int):
            return [max(1, int(num_tokens * self.keep_rate**stage)) for stage in range(1, len(self.blocks) + 1)]
        left = itertools.accumulate(self._shares(), operator.mul, initial=float(num_tokens))
        return [max(1, int(tokens)) for tokens in left][1:]

    def _steps(self, num_tokens: int, depth: int, extra: int, surplus: int) -> Iterator[Step]:
        if not 1 <= self.blocks[0] <= self.blocks[-1] <= depth:
            raise ValueError(f"blocks={list(self.blocks)} must lie in 1..{depth}, the blocks this backbone has")
        if self.threshold is not None:
            several = self.threshold if isinstance(self.threshold, tuple) else (self.threshold,) * len(self.blocks)
            for block, threshold in zip(self.blocks, several, strict=True):
                yield Step(block, int, threshold=threshold)
            return
        if self.of == "current":
            for block, share, rate in zip(self.blocks, self._shares(), self._rates(), strict=True):
                yield Step(block, functools.partial(_share_of, share), rate)
            return
        previous = num_tokens
        steps = zip(self.blocks, self._targets(num_tokens), self._rates(), strict=True)
        for stage, (block, target, rate) in enumerate(steps, start=1):
            nominal = previous + (extra if stage > 1 else 0)

            def wanted(present: int, target: int = target, nominal: int = nominal) -> int:
                behind = present - nominal if self.as_released else 0
                return target + max(behind, 0)

            yield Step(block, wanted, rate)
            previous = target


def _share_of(share: float, present: int) -> int:
    return max(1, int(present * share))


class EveryBlock(Schedule):
    """Removes tokens at every block, t on average.

    Args:
        t: tokens removed at a block, on average.
        as_released: for methods that have a `released_surplus`, that many tokens fewer are removed at a block.
        clamp: see `Schedule`.
    """

    def __init__(self, t: Whole, *, as_released: bool = False, clamp: bool = False):
        super().__init__(as_released=as_released, clamp=clamp)
        self.t = t

    @abstractmethod
    def removed(self, depth: int) -> list[int]:
        """Tokens to remove at each of `depth` blocks."""

    def _steps(self, num_tokens: int, depth: int, extra: int, surplus: int) -> Iterator[Step]:
        for block, count in enumerate(self.removed(depth), start=1):
            if self.as_released:
                count = max(0, count - surplus)

            def wanted(present: int, count: int = count) -> int:
                return present - count

            yield Step(block, wanted)


class Constant(EveryBlock):
    """t tokens at every block (arXiv 2409.11923, Eq. 4).

    Examples:
        >>> [count.keep for count in Constant(8).resolve(196, depth=4)]
        [188, 180, 172, 164]
    """

    @override
    def removed(self, depth: int) -> list[int]:
        return [self.t] * depth


class Linear(EveryBlock):
    """floor(2t - 2tl / (L - 1)) tokens at block l = 0..L-1 (arXiv 2409.11923, Eq. 5).

    Examples:
        >>> Linear(8).removed(depth=4)
        [16, 10, 5, 0]
    """

    @override
    def removed(self, depth: int) -> list[int]:
        if depth == 1:
            return [self.t]
        return [2 * self.t * (depth - 1 - block) // (depth - 1) for block in range(depth)]

"""How many tokens to keep, at which blocks. Blocks are 1-based, counts are of patch tokens (no prefix)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from atc.values import Blocks, Count, KeepRate, Whole, checked


class StageCount(NamedTuple):
    """The tokens of one reducing block."""

    block: int  # 1-based
    tokens_in: int  # patch tokens entering the reduction
    target: int  # patch tokens the schedule asks for
    keep: int  # patch tokens the method is told to keep: `target`, or the nearest it can reach


class Step(NamedTuple):
    """A reducing block, and the count wanted there as a function of the tokens that reach it."""

    block: int
    wanted: Callable[[int], int]


class Schedule(ABC):
    """Turns N0 source patches and a depth into one `StageCount` per reducing block.

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
    ) -> list[StageCount]:
        """The counts for `num_tokens` patches and `depth` blocks.

        least(n): fewest of n tokens the method can leave; extra: tokens it adds beyond `keep` (EViT);
        surplus: tokens the authors' every-block code leaves too many. Raises ValueError on a count further
        than one token out of reach, unless clamping.
        """
        counts = []
        for block, wanted in self._steps(num_tokens, depth, extra, surplus):
            target = wanted(num_tokens)
            keep = min(max(target, least(num_tokens)), num_tokens)
            if keep - target > 1 and not self.clamp:
                raise ValueError(
                    f"{name} cannot leave {target} of {num_tokens} tokens at block {block}: it reaches {keep} at "
                    f"the fewest; ask for fewer removals, or set clamp=true (schedule.clamp=true) to take {keep}"
                )
            counts.append(StageCount(block, num_tokens, target, keep))
            num_tokens = keep + extra if keep < num_tokens else num_tokens
        return counts


class Stages(Schedule):
    """Keep rate r at each of a few blocks: `max(1, int(N0 * r**s))` tokens after stage s = 1, 2, ...

    The setting of both papers: r**s of the *original* patches, truncated (arXiv 2308.04657, Sec. 3; arXiv
    2409.11923, Sec. 4). as_released: a stage removes as many tokens as lie between two *nominal* counts, so a
    method that fell behind stays behind (ToMe at r = .25 gives 98, 61, 52 of 196).

    keep: explicit token counts, one per block, instead of a keep rate.
    """

    def __init__(
        self,
        keep_rate: KeepRate | None = None,
        blocks: Blocks = (4, 7, 10),
        keep: Sequence[Count] | None = None,
        *,
        as_released: bool = False,
        clamp: bool = False,
    ):
        super().__init__(as_released=as_released, clamp=clamp)
        self.blocks = tuple(blocks)
        if (keep_rate is None) == (keep is None):
            raise ValueError(f"give either keep_rate or keep, got keep_rate={keep_rate} and keep={keep}")
        if keep is not None and len(keep) != len(self.blocks):
            raise ValueError(f"keep={list(keep)} needs one positive count for each of the blocks {list(blocks)}")
        self.keep_rate, self.keep = keep_rate, None if keep is None else tuple(keep)

    def _steps(self, num_tokens: int, depth: int, extra: int, surplus: int) -> Iterator[Step]:
        if not 1 <= self.blocks[0] <= self.blocks[-1] <= depth:
            raise ValueError(f"blocks={list(self.blocks)} must lie in 1..{depth}, the blocks this backbone has")
        previous = num_tokens
        for stage, block in enumerate(self.blocks, start=1):
            if self.keep is not None:
                target = self.keep[stage - 1]
            else:
                assert self.keep_rate is not None
                target = max(1, int(num_tokens * self.keep_rate**stage))
            nominal = previous + (extra if stage > 1 else 0)

            def wanted(present: int, target: int = target, nominal: int = nominal) -> int:
                behind = present - nominal if self.as_released else 0
                return target + max(behind, 0)

            yield Step(block, wanted)
            previous = target


class EveryBlock(Schedule):
    """Removes tokens at every block, t on average.

    as_released: for methods that have a `released_surplus`, that many tokens fewer are removed at a block.
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
    """t tokens at every block (arXiv 2409.11923, Eq. 4)."""

    def removed(self, depth: int) -> list[int]:
        return [self.t] * depth


class Linear(EveryBlock):
    """floor(2t - 2tl / (L - 1)) tokens at block l = 0..L-1 (arXiv 2409.11923, Eq. 5)."""

    def removed(self, depth: int) -> list[int]:
        if depth == 1:
            return [self.t]
        return [2 * self.t * (depth - 1 - block) // (depth - 1) for block in range(depth)]

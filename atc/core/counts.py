"""The tokens of each reducing block, and those of methods that can leave certain counts only."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class StageCount(NamedTuple):
    """The tokens of one reducing block."""

    block: int  # 1-based
    tokens_in: int  # patch tokens entering the reduction
    target: int  # patch tokens the schedule asks for
    keep: int  # patch tokens the method is told to keep: `target`, or the nearest it can reach
    rate: float = 1.0  # share of the source patches that is asked for, before it is cut to a whole number of tokens
    threshold: float | None = None  # distance up to which tokens merge; `keep` is then the most that an image keeps


class Step(NamedTuple):
    """A reducing block, and the count asked for there as a function of the tokens that reach it."""

    block: int
    wanted: Callable[[int], int]
    rate: float | None = None  # as in `StageCount`; None: the count, of the source patches
    threshold: float | None = None  # as in `StageCount`


def nearest_counts(
    steps: Iterable[Step], num_tokens: int, possible: Sequence[int], clamp: bool, name: str
) -> list[StageCount]:
    """The counts of a method that can leave certain counts only: the nearest to each that is asked for.

    What is asked for at a block does not depend on what the method left before: it is what a method that reaches every
    count would have left. Of two counts that are equally near, the smaller is taken.

    Args:
        steps: the reducing blocks in order.
        num_tokens: N0.
        possible: the counts that it can leave, ascending, at least one.
        clamp: take the fewest where less than no token is asked for.
        name: of the method, for messages.

    Raises:
        ValueError: less than no token is asked for, unless clamping.

    Examples:
        >>> steps = [Step(4, lambda _: 98), Step(7, lambda _: 49)]
        >>> [count.keep for count in nearest_counts(steps, 196, [36, 62, 100, 144, 196], False, "it")]
        [100, 36]
    """
    counts, patches, asked = [], num_tokens, num_tokens
    for block, wanted, rate, _ in steps:
        target = wanted(asked)
        if target < 0 and not clamp:
            raise ValueError(
                f"{name} cannot leave {target} of {asked} tokens at block {block}: it reaches {possible[0]} at "
                f"the fewest; ask for fewer removals, or set clamp=true (schedule.clamp=true) to take {possible[0]}"
            )
        asked = min(max(target, 0), patches)
        apart = [abs(count - asked) for count in possible]
        keep = min(possible[apart.index(min(apart))], num_tokens)
        counts.append(StageCount(block, num_tokens, target, keep, target / patches if rate is None else rate))
        num_tokens = keep
    return counts


def check_stages(
    keep_rate: float | Sequence[float] | None,
    keep: Sequence[int] | None,
    threshold: float | Sequence[float] | None,
    blocks: Sequence[int],
    of: str,
) -> None:
    """ValueError unless one thing, for each of the blocks where it is a list, says how much stages keep.

    Args:
        keep_rate: as for `atc.core.Stages`, like what follows.
        keep: counts.
        threshold: distances.
        blocks: of the stages.
        of: what a share is of.
    """
    if threshold is not None and (keep_rate is not None or keep is not None):
        other = f"keep={list(keep)}" if keep is not None else f"keep_rate={keep_rate}"
        raise ValueError(f"give either threshold or {other.partition('=')[0]}, got threshold={threshold} and {other}")
    if isinstance(threshold, Sequence) and len(threshold) != len(blocks):
        raise ValueError(f"threshold={list(threshold)} needs one number for each of the blocks {list(blocks)}")
    if threshold is None and (keep_rate is None) == (keep is None):
        raise ValueError(f"give either keep_rate or keep, got keep_rate={keep_rate} and keep={keep}")
    if keep is not None and len(keep) != len(blocks):
        raise ValueError(f"keep={list(keep)} needs one positive count for each of the blocks {list(blocks)}")
    if isinstance(keep_rate, Sequence) and len(keep_rate) != len(blocks):
        raise ValueError(f"keep_rate={list(keep_rate)} needs one share for each of the blocks {list(blocks)}")
    if keep is not None and of != "original":
        raise ValueError(f"of={of} is for a keep_rate; keep={list(keep)} says how many tokens are left")


def held_counts(counts: Sequence[StageCount], num_tokens: int, depth: int) -> list[StageCount]:
    """The counts of a method whose plans are of one block only: each stage's hold until the next stage.

    Args:
        counts: of the stages, in order.
        num_tokens: N0, all of which enter every block.
        depth: blocks of the backbone.

    Returns:
        One for each block from the first stage's on.

    Examples:
        >>> stages = [StageCount(2, 196, 98, 98, 0.5), StageCount(4, 98, 49, 49, 0.25)]
        >>> [(count.block, count.tokens_in, count.keep, count.rate) for count in held_counts(stages, 196, depth=4)]
        [(2, 196, 98, 0.5), (3, 196, 98, 0.5), (4, 196, 49, 0.25)]
    """
    ends = [count.block for count in counts[1:]] + [depth + 1]
    return [
        count._replace(block=block, tokens_in=num_tokens)
        for count, end in zip(counts, ends, strict=True)
        for block in range(count.block, end)
    ]

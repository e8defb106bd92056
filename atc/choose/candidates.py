"""Methods with a schedule each, and families of them that differ in one number."""

import math
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import nn

from atc.api import wrap
from atc.config.programs import program
from atc.vit.reduced import ReducedViT

STRENGTHS = 99  # the mildest candidate of a family has strength 1, the one that reduces most this


class Candidate(NamedTuple):
    """A method and a schedule, as settings of the command line.

    Attributes:
        reducer: a name of conf/reducer.
        schedule: "stages", "constant" or "linear".
        keep_rate: of "stages": a share for all stages, or one for each.
        blocks: of "stages": where, 1-based.
        t: of the others: tokens removed at a block, on average.
        threshold: of methods that merge up to a distance, in place of a keep rate: for all stages, or one for each.
        clamp: whether the method takes the nearest counts it can reach.
    """

    reducer: str
    schedule: str = "stages"
    keep_rate: float | tuple[float, ...] | None = None
    blocks: tuple[int, ...] = ()
    t: int | None = None
    threshold: float | tuple[float, ...] | None = None
    clamp: bool = False

    def model(self, vit: nn.Module) -> ReducedViT:
        """`vit` with its tokens reduced so; ValueError, one line, where that does not go together."""
        blocks = self.blocks or (1,)  # those of the other schedules are all blocks
        settings = {key: getattr(self, key) for key in ("keep_rate", "schedule", "t", "threshold", "clamp")}
        return wrap(vit, self.reducer, blocks=blocks, **settings).eval()

    def settings(self) -> list[str]:
        """The settings of the command line, such as ``["reducer=tome", "keep_rate=0.5", "blocks=[4,7,10]"]``."""
        said = [f"reducer={self.reducer}"]
        if self.schedule != "stages":
            said += [f"schedule={self.schedule}", f"t={self.t}"]
        else:
            key = "keep_rate" if self.threshold is None else "threshold"
            said += [f"{key}={_written(getattr(self, key))}", f"blocks={_written(self.blocks)}"]
        return [*said, *(["schedule.clamp=true"] if self.clamp else [])]

    def __str__(self) -> str:
        """The settings of the command line, with spaces between them."""
        return " ".join(self.settings())

    def command(self, others: Sequence[str]) -> str:
        """The line that evaluates it.

        Args:
            others: further settings, such as ``["backbone=deit_small"]``.
        """
        return shlex.join([*program("evaluate"), *others, *self.settings()])


def _written(value: object) -> str:
    """A value of a setting, as Hydra reads it."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


class Family(ABC):
    """Candidates of one method in the order of how much they reduce.

    Args:
        reducer: a name of conf/reducer.
    """

    def __init__(self, reducer: str):
        self.reducer = reducer

    @abstractmethod
    def at(self, strength: int) -> Candidate:
        """The candidate of a strength, in 1..`STRENGTHS`."""


class Uniform(Family):
    """One keep rate for all stages.

    Args:
        reducer: a name of conf/reducer.
        blocks: of the stages.
    """

    def __init__(self, reducer: str, blocks: Sequence[int]):
        super().__init__(reducer)
        self.blocks = tuple(blocks)

    def at(self, strength: int) -> Candidate:
        """Keep rates .99 to .01."""
        return Candidate(
            self.reducer, keep_rate=round(1 - strength / (STRENGTHS + 1), 2), blocks=self.blocks, clamp=True
        )


class PerBlock(Family):
    """A keep rate for each stage, whose logarithms stay in proportion.

    Args:
        reducer: a name of conf/reducer.
        blocks: of the stages.
        shares: of the reduction, one for each stage, of 0 or more, the largest above 0.
    """

    def __init__(self, reducer: str, blocks: Sequence[int], shares: Sequence[float]):
        super().__init__(reducer)
        self.blocks = tuple(blocks)
        self.shares = tuple(share / max(shares) for share in shares)

    def at(self, strength: int) -> Candidate:
        """The stage of the largest share keeps .99 to .01; rates are rounded to hundredths."""
        least = math.log(1 - strength / (STRENGTHS + 1))
        rates = tuple(max(0.01, round(math.exp(share * least), 2)) for share in self.shares)
        return Candidate(self.reducer, keep_rate=rates, blocks=self.blocks, clamp=True)


class UpTo(Family):
    """A distance up to which a method merges, the same or in proportion for all stages.

    Args:
        reducer: a name of conf/reducer.
        blocks: of the stages.
        shares: of the largest distance, one for each stage; None: the same for all.
    """

    def __init__(self, reducer: str, blocks: Sequence[int], shares: Sequence[float] | None = None):
        super().__init__(reducer)
        self.blocks = tuple(blocks)
        self.shares = None if shares is None else tuple(share / max(shares) for share in shares)

    def at(self, strength: int) -> Candidate:
        """Distances .01 to .99."""
        most = strength / (STRENGTHS + 1)
        own = most if self.shares is None else tuple(round(share * most, 3) for share in self.shares)
        return Candidate(self.reducer, threshold=own, blocks=self.blocks)


class EveryBlock(Family):
    """Tokens removed at every block: schedule "constant" or "linear".

    Args:
        reducer: a name of conf/reducer.
        schedule: the name of the schedule.
        most: tokens that may be removed at a block, on average.
    """

    def __init__(self, reducer: str, schedule: str, most: int):
        super().__init__(reducer)
        self.schedule, self.most = schedule, most

    def at(self, strength: int) -> Candidate:
        """From one token to `most`."""
        t = 1 + round((strength - 1) / (STRENGTHS - 1) * (self.most - 1))
        return Candidate(self.reducer, self.schedule, t=t, clamp=True)


def mildest(family: Family, share: Callable[[Candidate], float], budget: float) -> tuple[Candidate, float] | None:
    """The candidate of a family that reduces least within a budget, found by halving.

    Args:
        family: whose cost falls with the strength.
        share: the cost of a candidate, as a share of the cost of the model without reduction.
        budget: the largest share allowed.

    Returns:
        The candidate and its cost; None where the strongest costs more.
    """
    found = None
    low, high = 1, STRENGTHS
    while low <= high:
        strength = (low + high) // 2
        candidate = family.at(strength)
        cost = share(candidate)
        if cost <= budget:
            found, high = (candidate, cost), strength - 1
        else:
            low = strength + 1
    return found

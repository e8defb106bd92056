"""One reducer for each block that reduces, from a class and counts."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from atc.core import Reducer, Stage, StageCount

ReducerFactory = Callable[[Stage], Reducer]


def reducer_class(factory: ReducerFactory) -> type[Reducer]:
    """The class behind a reducer class or a partial of one."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    return factory  # type: ignore[return-value]  # what a partial is of, is a class


def reducer_arguments(factory: ReducerFactory) -> dict[str, Any]:
    """The constructor arguments that a partial of a reducer class holds."""
    found: dict[str, Any] = {}
    while isinstance(factory, functools.partial):
        found = {**factory.keywords, **found}
        factory = factory.func
    return found


def reducers_for(factory: ReducerFactory, reducing: Sequence[StageCount], width: int, depth: int) -> nn.ModuleDict:
    """The reducers of a model, by the number of their block as text.

    Args:
        factory: called with a `Stage` for each of them.
        reducing: the blocks that reduce, in order.
        width: C, channels of a token.
        depth: blocks of the backbone.
    """
    made = {}
    for number, count in enumerate(reducing, start=1):
        stage = Stage(count.block, width, count.keep, depth, number, count.tokens_in, count.rate, count.threshold)
        made[str(count.block)] = factory(stage)
    return nn.ModuleDict(made)


def notices_for(method: type[Reducer], counts: Sequence[StageCount], of_grid: bool) -> list[str]:
    """One line per count that the method cannot reach; one for all where it can reach certain counts only."""
    if of_grid:
        if all(count.keep == count.target for count in counts):
            return []
        left, asked, blocks = (
            ", ".join(str(count[place]) for count in counts)
            for place in map(StageCount._fields.index, ("keep", "target", "block"))
        )
        only = f"{method.__name__} can leave certain counts only"
        return [f"{only}: {left} tokens at blocks {blocks}, the nearest to those asked for, {asked}"]
    return [
        f"{method.__name__} leaves {c.keep} of {c.tokens_in} tokens at block {c.block}: the schedule asks for "
        f"{c.target}, which is out of its reach"
        for c in counts
        if c.keep > c.target
    ]

"""One reducer for each block that reduces, from a class and counts."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from atc.core import Reducer, Stage, StageCount
from atc.ops.arguments import class_described
from atc.vit.host import Host

ReducerFactory = Callable[[Stage], Reducer]


def reducer_class(factory: ReducerFactory) -> type[Reducer]:
    """The class behind a reducer class or a partial of one.

    Raises:
        ValueError: anything else.
    """
    while isinstance(factory, functools.partial):
        factory = factory.func
    if not (isinstance(factory, type) and issubclass(factory, Reducer)):
        raise ValueError(
            f"a reducer must be a name or a subclass of atc.core.Reducer, got {class_described(factory)}; one instance "
            f"for each reducing block is made of it"
        )
    return factory


def reducer_arguments(factory: ReducerFactory) -> dict[str, Any]:
    """The constructor arguments that a partial of a reducer class holds."""
    found: dict[str, Any] = {}
    while isinstance(factory, functools.partial):
        found = {**factory.keywords, **found}
        factory = factory.func
    return found


def reducers_for(factory: ReducerFactory, reducing: Sequence[StageCount], host: Host) -> nn.ModuleDict:
    """The reducers of a model, by the number of their block as text.

    Args:
        factory: called with a `Stage` for each of them.
        reducing: the blocks that reduce, in order.
        host: of the backbone.
    """
    made = {}
    depth, width, has_cls = len(host.blocks), host.width, host.has_cls
    name = reducer_class(factory).__name__
    for number, count in enumerate(reducing, start=1):
        asked = count.tokens_in, count.rate, count.threshold
        stage = Stage(count.block, width, count.keep, depth, number, *asked, has_cls)
        made[str(count.block)] = reducer = factory(stage)
        if not hasattr(reducer, "_modules"):  # which nn.Module's constructor makes
            raise ValueError(f"{name}.__init__ must begin with super().__init__(stage)")
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

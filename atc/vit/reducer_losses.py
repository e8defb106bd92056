"""The losses of reducers, with or without a context."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from atc.core import LossContext, Plan, Reducer
from atc.ops.arguments import described

_TAKEN = ("loss", "lr", "base", "total")  # names under which a training logs others


def takes_context(reducer: nn.Module) -> bool:
    """Whether the losses of a reducer need more than its plans; those of `Reducer` itself are none."""
    losses: Any = getattr(type(reducer), "losses", None)
    if losses is None or losses is Reducer.losses:
        return False
    parameters = list(inspect.signature(losses).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) > 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters)


def total_losses(
    reducers: nn.ModuleDict, plans: Mapping[str, Sequence[Plan]], context: LossContext | None
) -> dict[str, Tensor]:
    """The losses of all reducers, added up by name.

    Args:
        reducers: by block.
        plans: of the latest forward, by block.
        context: what came of that forward; given to the reducers that take it.

    Raises:
        ValueError: a reducer returns anything but scalars by name, or calls one as the loss of all is called.
    """
    total: dict[str, Tensor] = {}
    for block, made in plans.items():
        reducer: Any = reducers[block]
        found = reducer.losses(made, context) if takes_context(reducer) else reducer.losses(made)
        for name, value in _scalars(found, type(reducer).__name__).items():
            total[name] = total[name] + value if name in total else value
    return total


def with_total(base: Tensor, terms: Mapping[str, Any], weights: Mapping[str, float]) -> dict[str, Tensor]:
    """All that a training minimises.

    Args:
        base: the loss of the task.
        terms: those of the reducers, by name.
        weights: how much each counts, by name; 1 where there is none.

    Returns:
        ``base``, the terms, and their weighted sum ``total``; a term that is a number becomes a tensor.
    """
    total = base * weights["base"] if "base" in weights else base
    for name, value in terms.items():
        total = total + (value * weights[name] if name in weights else value)
    found = {name: value if isinstance(value, Tensor) else base.new_full((), value) for name, value in terms.items()}
    return {"base": base, **found, "total": total}


def _scalars(found: Any, method: str) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise ValueError(
            f"{method}.losses must return scalars by name, such as {{'ratio': loss}}, got {described(found)}"
        )
    for name, value in found.items():
        if not isinstance(name, str) or name in _TAKEN:
            raise ValueError(
                f"{method}.losses names a loss {name!r}; a name is text, other than {' and '.join(_TAKEN)}"
            )
        if not isinstance(value, float | int) and not (isinstance(value, Tensor) and value.numel() == 1):
            raise ValueError(f"{method}.losses: {name} must be a scalar, got {described(value)}")
    return {name: value.reshape(()) if isinstance(value, Tensor) else value for name, value in found.items()}

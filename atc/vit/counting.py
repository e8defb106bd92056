"""The tokens of a wrapped model, block by block, and what its reducers need of the blocks."""

import functools
from typing import TYPE_CHECKING, Any

from atc.core import Reducer, StageCount
from atc.core.counts import held_counts
from atc.core.reducer import check_attributes
from atc.vit.host import nearly_square

if TYPE_CHECKING:
    from atc.vit.reduced import ReducedViT


def counts_of(model: "ReducedViT", num_patches: int, grid: tuple[int, int] | None) -> list[StageCount]:
    """See `ReducedViT.counts`."""
    if not model.method.reduces:
        return []
    if grid is None:
        grid = model.host.default_grid if num_patches == model.host.num_patches else nearly_square(num_patches)
    key = grid if model.counts_of_grid else num_patches
    if key not in model.known_counts:
        possible = model.method.possible_counts(grid, **model.reducer_arguments)
        counts = model.schedule.resolve(
            num_patches,
            model.depth,
            model.method.least,
            extra=model.method.extra,
            surplus=model.method.released_surplus if model.prefix else 0,
            name=model.method.__name__,
            possible=possible,
            most=functools.partial(model.method.most, **model.reducer_arguments),
        )
        model.known_counts[key] = held_counts(counts, num_patches, model.depth) if model.method.gates else counts
    return model.known_counts[key]


def has_counts_of_its_own(model: "ReducedViT") -> bool:
    """Whether the method can leave certain counts only, which follow from the grid of the patches."""
    grid = model.host.default_grid
    return model.method.reduces and model.method.possible_counts(grid, **model.reducer_arguments) is not None


def tokens_per_block(model: "ReducedViT") -> list[float]:
    """Patch tokens entering each block: counted in the latest forward, or as planned before the first."""
    stages: list[tuple[int, float]] = [(s.block, s.mean_tokens()) for s in model.trace]
    if not stages:
        stages = [(c.block, c.keep + model.method.extra) for c in model.stage_counts if model.reduces(c)]
    entering = int(model.trace[0].tokens_in if model.trace else model.host.num_patches)
    if model.method.gates:
        chosen = dict(stages)
        return [chosen.get(number, entering) for number in range(1, model.depth + 1)]
    counts = []
    for number in range(1, model.depth + 1):
        last = number if model.method.site == "before_block" else number - 1
        reached = [count for block, count in stages if block <= last]
        counts.append(reached[-1] if reached else entering)
    return counts


def check_threshold(method: type[Reducer], threshold: Any) -> None:
    """Raise ValueError where a method that stops at a distance has none, or another method has one."""
    if method.reduces and method.by_threshold and threshold is None:
        raise ValueError(
            f"{method.__name__} merges up to a distance: give a threshold and no schedule but stages, as in "
            f"threshold=0.3, in place of a keep rate or t; python -m atc.calibrate finds the one for a keep rate"
        )
    if threshold is not None and method.reduces and not method.by_threshold:
        raise ValueError(
            f"{method.__name__} takes no threshold, got {threshold}: it is for methods that merge up to a distance, "
            f"such as reducer=atc_average_dynamic; others take a keep_rate"
        )


def check_needs(model: "ReducedViT") -> None:
    """Raise ValueError where a reducer needs what the model, or the block before, does not have."""
    blocks = len(model.reducers)
    if model.method.one_stage and blocks > 1:
        raise ValueError(
            f"{model.method.__name__} reduces where every token is one patch: at one block, not at {blocks}"
        )
    for block, module in model.reducers.items():
        reducer: Any = module  # a Reducer
        check_attributes(model.method.__name__, {"site": reducer.site, "needs": reducer.needs})
        if model.method.site == "before_block" and reducer.needs and int(block) == 1:
            raise ValueError(
                f"{model.method.__name__} reduces before its block and needs {sorted(reducer.needs)} of the block "
                f"before that, so it cannot reduce at block 1; name later blocks"
            )
        if model.method.gates and reducer.needs:
            raise ValueError(
                f"{model.method.__name__} chooses the tokens of each block, so that none shows an attention over all "
                f"of them; it needs {sorted(reducer.needs)}"
            )
        if "cls_attn" in reducer.needs and not model.host.has_cls:
            raise ValueError(
                f"{model.method.__name__} ranks patches by the attention of a CLS token, which this "
                f"{model.host.name} does not have"
            )

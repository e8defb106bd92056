"""Methods that mean nothing off the shelf: layers that they learn start at random (`Reducer.needs_training`).

Read from their source: nothing is imported, so that reports and dry runs need no PyTorch.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from atc import constants, methods


def names(asked: Iterable[str], directories: Iterable[Path] = ()) -> set[str]:
    """Those of some methods that have to be trained before they mean something.

    Args:
        asked: names, as of files in conf/reducer.
        directories: of one's own, whose files `reducer/NAME.yaml` count as well.

    Returns:
        Names.
    """
    targets = methods.targets(directories)
    return {name for name in asked if name in targets and constants.sets_true(targets[name], "needs_training")}


def points(
    sweep: Mapping[str, Any], grids: Iterable[Mapping[str, Any]], directories: Iterable[Path] = ()
) -> list[dict[str, str]]:
    """What a sweep leaves out that evaluates off the shelf.

    Args:
        sweep: its settings; one with an optimizer, or train among its defaults, trains, and one with a checkpoint has
            trained layers.
        grids: mappings from settings to the value or values they take.
        directories: of one's own, as for `names`.

    Returns:
        A part of a point for each method that needs training, such as {"reducer": "sit"}; none for other sweeps.
    """
    if "optimizer" in sweep or "train" in (sweep.get("defaults") or []) or sweep.get("checkpoint") is not None:
        return []
    named: dict[str, None] = {}
    for grid in grids:
        if "checkpoint" not in grid:
            value = grid.get("reducer")
            named |= dict.fromkeys([value] if isinstance(value, str) else value or [])
    found = names((name for name in named if isinstance(name, str)), directories)
    return [{"reducer": name} for name in named if name in found]

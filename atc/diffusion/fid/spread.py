"""How far FID scatters: between seeds of the generation, and between parts of the reference.

Not by a bootstrap: images drawn with replacement repeat, which makes their covariance another one than that of new
images, and with fewer images than the 2,048 features FID changes with the number of different images far more than it
scatters. So parts without common images, and of one size, are compared with each other.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_NUMBERED = re.compile(r"(\d+)_(\d+)")


def by_seed(paths: Sequence[Path]) -> dict[str, list[int]]:
    """Images CLASS_I.png by their number I, whose seeds are others; empty unless there are several, with as many each.

    Args:
        paths: of the images.

    Returns:
        Places in `paths`, by I.
    """
    found: dict[str, list[int]] = {}
    for place, path in enumerate(paths):
        named = _NUMBERED.fullmatch(path.stem)
        if named is None:
            return {}
        found.setdefault(named[2], []).append(place)
    sizes = {len(places) for places in found.values()}
    return found if len(found) > 1 and len(sizes) == 1 and sizes.pop() > 1 else {}


def dealt(paths: Sequence[Path], subsets: int, classes: Mapping[str, str] | None = None) -> list[list[int]]:
    """Parts of one size without common images, the images of each class dealt out in turn.

    Args:
        paths: of the images.
        subsets: how many parts.
        classes: of the images, by file name; None: the folder that an image is in.

    Returns:
        Places in `paths`, part by part; empty where a part would have fewer than two.
    """
    size = len(paths) // subsets
    if subsets < 2 or size < 2:
        return []
    known = classes or {}
    order = sorted(range(len(paths)), key=lambda place: (known.get(paths[place].name, str(paths[place].parent)), place))
    return [order[part::subsets][:size] for part in range(subsets)]


def summary(values: Sequence[float], images: int) -> dict[str, Any]:
    """Of the values of several parts: all, their mean and their standard deviation.

    Args:
        values: of the parts, at least two.
        images: in each part.

    Returns:
        For a record.
    """
    return {
        "values": [float(value) for value in values],
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)),
        "images": images,
    }

"""How deep patches get: the block at which each is dropped, over a data set."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atc.runs.traces import TraceFiles

Map = NDArray[np.float64]


@dataclass(frozen=True)
class Patterns:
    """What a run keeps, over all images.

    A patch that the reduction at block B drops has been through B - 1 blocks: that is its depth. One that is kept to
    the end has the depth of the model.

    Attributes:
        mean: ``[rows, columns]`` mean depth of each patch.
        std: ``[rows, columns]`` its standard deviation over images (ddof 0).
        overall: mean and standard deviation over images and patches.
        rates: per stage mean and standard deviation, over images, of the share of tokens that is left.
    """

    mean: Map
    std: Map
    overall: tuple[float, float]
    rates: tuple[tuple[float, float], ...]


def patterns(trace: TraceFiles) -> Patterns:
    """Depth maps and reduction rates of a run.

    Args:
        trace: of the run; of one without kept patches only the rates mean something, and depths are those of the model.

    Returns:
        The patterns.
    """
    names = [f"{'kept' if trace.kept else 'tokens'}_{block}" for block in trace.blocks]
    total, squares = np.zeros(trace.patches), np.zeros(trace.patches)
    shares = []
    for part in trace.read(names) if names else ():
        values = [part[name] for name in names]
        if trace.kept:
            shares.append(np.stack([kept.mean(axis=1) for kept in values]))
            reached = depths(values, trace.blocks, trace.depth)
            total, squares = total + reached.sum(axis=0), squares + (reached**2).sum(axis=0)
        else:
            shares.append(np.stack(values) / trace.patches)
    if not (names and trace.kept):
        total, squares = np.full((2, trace.patches), float(trace.depth)) * trace.images
        squares = squares * trace.depth
    mean = total / trace.images
    std = np.sqrt(np.maximum(squares / trace.images - mean**2, 0))
    overall = float(mean.mean()), float(np.sqrt(max((squares / trace.images).mean() - mean.mean() ** 2, 0)))
    left = np.concatenate(shares, axis=1) if shares else np.zeros((0, trace.images))
    rates = tuple(zip(left.mean(axis=1).tolist(), left.std(axis=1).tolist(), strict=True))
    return Patterns(mean.reshape(trace.grid), std.reshape(trace.grid), overall, rates)


def depths(kept: list[NDArray[np.bool_]], blocks: tuple[int, ...], depth: int) -> Map:
    """The depth of each patch of each image.

    Args:
        kept: per stage ``[images, patches]``, whether a patch is kept.
        blocks: of the stages, 1-based.
        depth: of the model.

    Returns:
        ``[images, patches]``.
    """
    reached = np.full(kept[0].shape, float(depth))
    for stage, block in reversed(list(zip(kept, blocks, strict=True))):
        reached[~stage] = block - 1
    return reached

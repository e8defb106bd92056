"""Which threshold leaves how many tokens: found on images without labels."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from atc.ops.linkage import merge_heights
from atc.vit.reduced import ReducedViT

Batches = Callable[[], Iterable[Tensor]]
_TRIES = 16  # halvings of [0, 2] where one threshold is for all stages: to 3e-5


class StageThreshold(NamedTuple):
    """What was found for one stage."""

    block: int  # 1-based
    threshold: float
    target: float  # tokens that were wanted, the mean over images
    counts: Tensor  # [M] int64, tokens that each image keeps

    @property
    def mean(self) -> float:
        """The mean of the counts."""
        return float(self.counts.double().mean())


@torch.no_grad()
def calibrate(model: ReducedViT, batches: Batches, targets: Sequence[float], one: bool = False) -> list[StageThreshold]:
    """Thresholds at which images keep as many tokens as wanted, the mean over images.

    Stage after stage, since a later one sees what the earlier ones left: of the distances of all merges of all images,
    the threshold lies in the middle between the last that has to be merged and the first that has not. The mean is then
    as near to the target as images and ties allow. With one threshold for all stages, it is the sum of the means over
    stages that is, found by halving.

    Args:
        model: of a method with `by_threshold`, in evaluation mode; it has the thresholds when this returns.
        batches: called for a new pass over the images, ``[b, 3, H, W]`` each, on the model's device.
        targets: wanted mean tokens of each stage.
        one: find one threshold for all stages.

    Returns:
        One for each stage.

    Raises:
        ValueError: another method, no image, or not one target for each stage.
    """
    if not model.method.by_threshold:
        raise ValueError(f"{model.method.__name__} has no threshold to be found")
    reducers: list[Any] = list(model.reducers.values())
    if len(targets) != len(reducers):
        raise ValueError(f"targets={list(targets)} must be one number for each of {len(reducers)} stages")
    if one:
        return _one_for_all(model, reducers, batches, targets)
    found = []
    for reducer, target in zip(reducers, targets, strict=True):
        heights, real = _heights(model, reducer, batches)
        threshold, counts = threshold_for(heights, real, target, reducer.keep_min, reducer.keep_max)
        _set(reducer, threshold)
        found.append(StageThreshold(reducer.stage.block, threshold, float(target), counts))
    return found


def threshold_for(
    heights: Tensor, real: Tensor, target: float, least: int = 1, most: int | None = None
) -> tuple[float, Tensor]:
    """The threshold at which images keep a wanted mean of tokens.

    Args:
        heights: ``[M, N-1]`` of each image's merges, ascending, infinite behind the last.
        real: ``[M]`` int64, tokens of each image.
        target: the wanted mean.
        least: tokens that an image keeps at the fewest.
        most: at the most; None: any number.

    Returns:
        The threshold, 0 at the least, and ``[M]`` int64 tokens that each image then keeps.

    Examples:
        >>> heights, real = torch.tensor([[0.1, 0.2, 0.6], [0.1, 0.4, 0.9]]), torch.tensor([4, 4])
        >>> threshold, counts = threshold_for(heights, real, target=2.5)
        >>> round(threshold, 2), counts.tolist()
        (0.3, [2, 3])
    """
    pooled = heights[heights.isfinite()].sort().values
    levels = torch.cat([pooled.new_zeros(1), pooled.clamp_min(0).unique()])

    def counts(level: int) -> Tensor:
        within = (heights <= levels[level]).sum(dim=1)
        return (real - within).clamp(least, most).minimum(real)

    low, high = 0, len(levels) - 1  # the first level at which no more than the target are kept
    while low < high:
        middle = (low + high) // 2
        if float(counts(middle).double().mean()) <= target:
            high = middle
        else:
            low = middle + 1
    if low > 0:
        off = [abs(float(counts(level).double().mean()) - target) for level in (low - 1, low)]
        low -= int(off[0] <= off[1])
    above = levels[low + 1] if low + 1 < len(levels) else levels[low]
    return float((levels[low] + above) / 2), counts(low)


def _heights(model: ReducedViT, reducer: Any, batches: Batches) -> tuple[Tensor, Tensor]:
    """The merge heights of all images at one stage, ``[M, N-1]``, and their tokens, ``[M]``."""
    seen: list[tuple[Tensor, Tensor]] = []

    def look(_: Any, given: tuple[Any, ...]) -> None:
        view = given[0]
        made = merge_heights(view.keys, reducer.linkage, valid=view.valid, backend=reducer.linkage_backend)
        seen.append((made[0].cpu(), made[1].cpu()))

    hook = reducer.register_forward_pre_hook(look)
    try:
        for images in batches():
            stream = model.start(images)
            for number in range(1, reducer.stage.block + 1):
                stream.step(number)
    finally:
        hook.remove()
    if not seen:
        raise ValueError("a threshold is found on images, and there is none")
    widest = max(heights.shape[1] for heights, _ in seen)
    padded = [torch.nn.functional.pad(heights, (0, widest - heights.shape[1]), value=torch.inf) for heights, _ in seen]
    return torch.cat(padded), torch.cat([real for _, real in seen])


def _one_for_all(
    model: ReducedViT, reducers: Sequence[Any], batches: Batches, targets: Sequence[float]
) -> list[StageThreshold]:
    low, high = 0.0, 2.0
    best: list[StageThreshold] = []
    for _ in range(_TRIES):
        threshold = (low + high) / 2
        for reducer in reducers:
            _set(reducer, threshold)
        counts = _counts(model, batches)
        found = [
            StageThreshold(reducer.stage.block, threshold, float(target), kept)
            for reducer, target, kept in zip(reducers, targets, counts, strict=True)
        ]
        off = sum(stage.mean for stage in found) - sum(targets)
        if not best or abs(off) < abs(sum(stage.mean - stage.target for stage in best)):
            best = found
        low, high = (threshold, high) if off > 0 else (low, threshold)
    for reducer in reducers:
        _set(reducer, best[0].threshold)
    return best


def _counts(model: ReducedViT, batches: Batches) -> list[Tensor]:
    """The tokens that each image keeps, stage by stage."""
    kept: list[list[Tensor]] = []
    for images in batches():
        model(images)
        kept.append([stage.count.cpu() for stage in model.trace if stage.count is not None])
    if not kept:
        raise ValueError("a threshold is found on images, and there is none")
    return [torch.cat(stage) for stage in zip(*kept, strict=True)]


def _set(reducer: Any, threshold: float) -> None:
    reducer.stage = reducer.stage._replace(threshold=threshold)

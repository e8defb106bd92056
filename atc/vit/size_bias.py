"""How strongly sizes should count in attention: fitted on images without labels."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from atc.core.distillation import divergence, exact
from atc.vit.reduced import ReducedViT

COARSE, FINE = 0.25, 0.05  # steps


class SizeBias(NamedTuple):
    """What was found."""

    beta: float
    divergences: dict[float, float]  # of each beta that was tried, the mean over images, in nats


@torch.no_grad()
def fit_size_bias(
    model: ReducedViT,
    dense: Callable[[Tensor], Tensor],
    batches: Callable[[], Iterable[Tensor]],
    largest: float = 2.0,
) -> SizeBias:
    """The beta of beta * log(size) in attention with which a model agrees best with itself without reduction.

    The measure is the mean Kullback-Leibler divergence of its predictions from those of the dense model. It is computed
    for 0, .25, .5 and so on to `largest`, then in steps of .05 around the best; of equals the smallest counts.

    Args:
        model: in evaluation mode, with proportional attention; its reducers have the beta when this returns.
        dense: from images to the logits that are aimed at, such as the model that was wrapped.
        batches: called for a new pass over the images, ``[b, 3, H, W]`` each, on the model's device.
        largest: beta that is tried.

    Returns:
        Beta, and the divergence of each that was tried.

    Raises:
        ValueError: a model in training or without proportional attention, or no image.
    """
    if model.training or not model.proportional_attention or not model.reducers:
        raise ValueError(
            f"a size bias is fitted in evaluation, with proportional attention and a method that reduces: got "
            f"training={model.training}, proportional_attention={model.proportional_attention}, "
            f"{len(model.reducers)} reducing blocks"
        )
    wanted = [exact(dense(images)).softmax(dim=-1).log() for images in batches()]
    if not sum(map(len, wanted)):
        raise ValueError("a size bias is fitted on images, got none")
    tried: dict[float, float] = {}

    def measure(beta: float) -> None:
        if beta not in tried and 0 <= beta <= largest:
            _set(model, beta)
            found = [divergence(exact(model(images)), want) for images, want in zip(batches(), wanted, strict=True)]
            tried[beta] = float(torch.cat(found).double().mean())

    for step in range(int(largest / COARSE) + 1):
        measure(step * COARSE)
    middle = _best(tried)
    for step in range(1, round(COARSE / FINE)):
        measure(round(middle - step * FINE, 10))
        measure(round(middle + step * FINE, 10))
    beta = _best(tried)
    _set(model, beta)
    return SizeBias(beta, dict(sorted(tried.items())))


def _best(tried: dict[float, float]) -> float:
    return min(sorted(tried), key=lambda beta: tried[beta])


def _set(model: ReducedViT, beta: float) -> None:
    for reducer in model.reducers.values():
        one: Any = reducer
        one.size_bias = beta

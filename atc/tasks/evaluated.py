"""How many images an evaluation was over, and whether what came out is finite."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from atc.tasks.finite import NotFinite, causes


class Evaluated(Metric):
    """Counts images, and those of them whose logits are not all finite, over all processes.

    `compute` returns both, int64 [2].
    """

    full_state_update = False
    images: Tensor
    broken: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("images", "broken"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor) -> None:
        """Add the images behind logits [B, K]."""
        self.images += len(logits)
        self.broken += (~logits.isfinite()).any(dim=1).sum()

    def compute(self) -> Tensor:
        """How many images there were since the last reset, and how many of them had logits that are not finite."""
        return torch.stack([self.images, self.broken])


def counts(name: str, evaluated: Evaluated, loss: Metric, loaders: Any, model: nn.Module) -> dict[str, int]:
    """How many images an evaluation was over, if what came out is finite.

    Args:
        name: of the evaluation, for the message.
        evaluated: counted its images.
        loss: took its mean loss.
        loaders: the trainer's, one DataLoader or several.
        model: that was evaluated.

    Returns:
        "images", of all processes; and "images_of", how many the data set has, if that is known.

    Raises:
        NotFinite: a logit or the loss is NaN or infinite.
    """
    images, broken = evaluated.compute().tolist()
    if broken:
        raise NotFinite(
            f"{name}: the logits of {broken:,} of {images:,} images are not finite, so that nothing measured on them "
            f"means anything; {causes(model)}"
        )
    if images and not math.isfinite(value := float(loss.compute())):
        raise NotFinite(f"{name}: the loss over {images:,} images is {value}, though each of their logits is finite")
    sizes = [_size(loader) for loader in (loaders if isinstance(loaders, list | tuple) else [loaders])]
    if any(size is None for size in sizes):
        return {"images": images}
    of = sum(size for size in sizes if size is not None)
    return {"images": min(images, of), "images_of": of}  # a sampler that fills up the last batch repeats images


def _size(loader: Any) -> int | None:
    try:
        return len(loader.dataset)
    except (AttributeError, TypeError):
        return None

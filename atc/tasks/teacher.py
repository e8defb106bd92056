"""A second backbone, not trained, from which methods with a loss of their own may learn."""

from typing import Any

import torch
from torch import Tensor

from atc.vit.reduced import ReducedViT


class Teacher:
    """Shows images to a backbone that reduces nothing, without gradients and in evaluation mode.

    It is no module, so that it is neither trained nor saved with what is.

    Args:
        model: the backbone, wrapped with a method that reduces nothing.
    """

    def __init__(self, model: ReducedViT):
        self.model = model.requires_grad_(False).eval()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``[B, 3, H, W]`` -> logits ``[B, classes]`` and patch tokens ``[B, N0, C]`` after the final norm."""
        self.model.to(images.device, images.dtype)
        stream = self.model.start(images)
        for number in range(1, self.model.depth + 1):
            stream.step(number)
        features = stream.features()
        logits = self.model.pooled(features, None, None)
        return logits, features[:, self.model.prefix :]


def known(model: Any, batch: tuple[Tensor, Tensor] | None, teacher: Teacher | None) -> dict[str, Tensor]:
    """What the losses of a model's reducers are given: labels and a teacher's outputs, where one of them uses these.

    Args:
        model: what is trained.
        batch: the images and targets that it was trained on last; None for a task that does not say.
        teacher: of the configuration, if there is one.
    """
    if batch is None or not getattr(model, "losses_ask", False):
        return {}
    images, targets = batch
    if teacher is None:
        return {"labels": targets}
    logits, features = teacher(images)
    return {"labels": targets, "teacher_logits": logits, "teacher_features": features}

"""A second backbone, not trained, from which methods with a loss of their own may learn."""

from typing import Any

import torch
from torch import Tensor

from atc.vit.reduced import ReducedViT
from atc.vit.teacher import logits_and_features


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
        return logits_and_features(self.model, images)


def known(
    model: Any, batch: tuple[Tensor, Tensor] | None, teacher: Teacher | None, multilabel: bool = False
) -> dict[str, Any]:
    """What the losses of a model's reducers are given: labels and a teacher's outputs, where one of them uses these.

    Args:
        model: what is trained.
        batch: the images and targets that it was trained on last; None for a task that does not say.
        teacher: of the configuration, if there is one.
        multilabel: whether targets are rows of labels.
    """
    if batch is None or not getattr(model, "losses_ask", False):
        return {}
    images, targets = batch
    if teacher is None:
        return {"labels": targets, "multilabel": multilabel}
    logits, features = teacher(images)
    return {
        "labels": targets,
        "multilabel": multilabel,
        "teacher_logits": logits,
        "teacher_features": features,
    }

"""What a model that reduces tokens is trained with: the loss of the task, those of its method, and their sum."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atc.api import wrap
from atc.ops.arguments import class_described, described
from atc.ops.exporting import inside_transform
from atc.vit.reduced import ReducedViT
from atc.vit.reducer_losses import with_total
from atc.vit.teacher import logits_and_features

_IGNORED = -100  # of `F.cross_entropy`: such an image counts for nothing


def training_losses(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    teacher: nn.Module | None = None,
    *,
    multilabel: bool | None = None,
) -> dict[str, Tensor]:
    """Run a model in training, and return all that it is to learn from.

    Args:
        model: a wrapped model in training mode.
        images: ``[B, 3, H, W]``.
        labels: ``[B]`` integer classes; or ``[B, classes]``: any number of labels for each image, or soft targets.
        teacher: a model of the same images, patches and classes, whose outputs methods such as DynamicViT learn from.
            It is run in evaluation mode, without gradients, and not changed. None leaves these losses out.
        multilabel: whether rows of labels are any number of labels, each of which is a binary decision; False: they are
            shares of classes, such as mixed images have. None: shares where every row sums to one.

    Returns:
        Scalars: ``base`` (cross-entropy, or binary cross-entropy for any number of labels, a mean over images), the
        method's own by name, and ``total``, the sum of all, weighted as the arguments of the method say
        (`Reducer.loss_weights`): ``losses["total"].backward()``.

    Raises:
        ValueError: no model, one in evaluation mode, or labels of another kind or shape; on a CPU, also a class that
            the model does not have.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"training_losses needs a torch.nn.Module, got {class_described(model)}")
    if not model.training:
        raise ValueError("training_losses needs a model in training mode: call model.train() first")
    if not isinstance(labels, Tensor) or labels.shape[:1] != images.shape[:1] or labels.dim() not in (1, 2):
        raise ValueError(f"labels must be [B] or [B, classes] for {len(images)} images, got {described(labels)}")
    if labels.dim() == 1 and (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool):
        raise ValueError(
            f"labels [B] must be integers, the class of each image, got {described(labels)}; any number of labels for "
            f"each image, or shares of classes, are [B, classes]"
        )
    if labels.dim() == 1:
        multilabel = False
    elif multilabel is None:
        multilabel = not bool(((labels.sum(dim=1) - 1).abs() < 1e-4).all())
    found = model(images)
    logits = getattr(found, "logits", found)  # transformers returns them among other outputs
    _check_classes(labels, logits)
    base = _base(logits, labels, multilabel)
    known: dict[str, Any] = {"labels": labels, "multilabel": multilabel}
    if teacher is not None and getattr(model, "losses_ask", False):
        known["teacher_logits"], known["teacher_features"] = _shown(teacher, images)
    terms = model.losses(**known) if isinstance(model, ReducedViT) else {}
    return with_total(base, terms, model.loss_weights if isinstance(model, ReducedViT) else {})


@torch.no_grad()
def _shown(teacher: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    wrapped = teacher if isinstance(teacher, ReducedViT) else wrap(teacher, "none")
    training = teacher.training
    wrapped.eval()
    try:
        return logits_and_features(wrapped, images)
    finally:
        wrapped.train(training)


def _check_classes(labels: Tensor, logits: Tensor) -> None:
    """ValueError for classes that the logits are not of; values are looked at where nothing has to be waited for."""
    classes = logits.shape[-1]
    if labels.dim() == 2:
        if labels.shape != logits.shape:
            raise ValueError(f"labels must be {list(logits.shape)}, as the logits are, got {described(labels)}")
        return
    if (
        torch.compiler.is_compiling()
        or type(labels) is not Tensor
        or labels.device.type != "cpu"
        or inside_transform(labels)
    ):
        return
    wrong = labels[((labels < 0) | (labels >= classes)) & (labels != _IGNORED)]
    if len(wrong):
        raise ValueError(f"labels must lie in [0, {classes}), the classes of the model, got {int(wrong[0])}")


def _base(logits: Tensor, labels: Tensor, multilabel: bool) -> Tensor:
    if labels.dim() == 1:
        return F.cross_entropy(logits, labels.long())
    targets = labels.to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, targets) if multilabel else F.cross_entropy(logits, targets)

"""How the vision models of transformers pool and classify, with tokens weighted by size."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from atc.vit import poolings


class Head(NamedTuple):
    """How a model pools its tokens and classifies them.

    Attributes:
        pool: from the trunk, tokens ``[B, P+K, C]`` after its norm, sizes ``[B, K]`` or None, and P to ``[B, C]``, or
            to None for models that pool nothing.
        classifiers: attributes of the model; where there are several, one for each of the first tokens.
    """

    pool: Callable[[Any, Tensor, Tensor | None, int], Tensor | None]  # trunk, tokens, sizes, prefix
    classifiers: tuple[str, ...] = ()  # of each prefix token, where there are several


def _cls(trunk: Any, x: Tensor, size: Tensor | None, prefix: int) -> Tensor:
    return x[:, 0]


def _pooler(trunk: Any, x: Tensor, size: Tensor | None, prefix: int) -> Tensor | None:
    return trunk.pooler(x) if trunk.pooler is not None else None


def _mean(trunk: Any, x: Tensor, size: Tensor | None, prefix: int) -> Tensor:
    return poolings.mean(x[:, prefix:], size)


def _cls_and_mean(trunk: Any, x: Tensor, size: Tensor | None, prefix: int) -> Tensor:
    return torch.cat([x[:, 0], poolings.mean(x[:, prefix:], size)], dim=1)


def _normed_cls(trunk: Any, x: Tensor, size: Tensor | None, prefix: int) -> Tensor:
    return trunk.post_layernorm(x[:, 0])


def _attended(trunk: Any, x: Tensor, size: Tensor | None, prefix: int) -> Tensor | None:
    return poolings.siglip(trunk.head, x, size) if trunk.use_head else None


def _none(trunk: Any, x: Tensor, size: Tensor | None, prefix: int) -> None:
    return None


HEADS = {
    "ViTModel": Head(_pooler),
    "ViTForImageClassification": Head(_cls, ("classifier",)),
    "DeiTModel": Head(_pooler),
    "DeiTForImageClassification": Head(_cls, ("classifier",)),
    "DeiTForImageClassificationWithTeacher": Head(_cls, ("cls_classifier", "distillation_classifier")),
    "Dinov2Model": Head(_cls),
    "Dinov2ForImageClassification": Head(_cls_and_mean, ("classifier",)),
    "Dinov2WithRegistersModel": Head(_cls),
    "Dinov2WithRegistersForImageClassification": Head(_cls_and_mean, ("classifier",)),
    "DINOv3ViTModel": Head(_cls),
    "CLIPVisionModel": Head(_normed_cls),
    "CLIPVisionTransformer": Head(_normed_cls),  # inside of CLIPModel before transformers 5.6
    "CLIPVisionModelWithProjection": Head(_normed_cls, ("visual_projection",)),
    "CLIPForImageClassification": Head(_mean, ("classifier",)),
    "SiglipVisionModel": Head(_attended),
    "SiglipVisionTransformer": Head(_attended),
    "SiglipForImageClassification": Head(_mean, ("classifier",)),
    "ViTMAEModel": Head(_none),
}

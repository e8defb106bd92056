"""Cost and speed of models on a batch of images."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from atc.cost.flops import gflops_per_image
from atc.cost.images_per_second import images_per_second
from atc.vit.reduced import ReducedViT


def measure(
    model: ReducedViT, dense: nn.Module, images: Tensor, seconds: float, precision: AbstractContextManager[Any]
) -> Iterator[Mapping[str, Any]]:
    """Operations, token counts and images per second, as parts of a record, each as soon as it is known.

    Args:
        model: the reduced model; not measured if its method reduces nothing.
        dense: the model without reduction.
        images: ``[B, 3, H, W]``, on the device to measure on.
        seconds: how long to measure each model.
        precision: what the speed is measured in, such as autocast.

    Yields:
        ``results.gflops`` by model; ``tokens_per_block``; ``results.images_per_second`` by model, and at which batch
        size.
    """
    models: dict[str, nn.Module] = {"dense": dense.to(images.device)}
    if model.method.reduces:
        models["reduced"] = model.to(images.device)
    some = images if model.method.dynamic else images[:1]  # the same for every image, but for such methods
    with torch.compiler.set_stance("force_eager"):  # operations are counted where PyTorch dispatches them
        gflops = {name: gflops_per_image(one, some) for name, one in models.items()}
    yield {"results": {"gflops": gflops}}
    yield {"tokens_per_block": model.tokens_per_block()}
    with precision:
        speed = images_per_second(models, images, seconds)
    yield {"results": {"images_per_second": speed, "measured_at_batch_size": len(images)}}

"""Cost and speed of models on a batch of images."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from atc.cost.flops import gflops_per_image
from atc.cost.images_per_second import images_per_second
from atc.vit.cuda_graph import cuda_graph
from atc.vit.reduced import ReducedViT

log = logging.getLogger(__name__)


def measure(
    model: ReducedViT,
    dense: nn.Module,
    images: Tensor,
    seconds: float,
    precision: Callable[[], AbstractContextManager[Any]],
) -> Iterator[Mapping[str, Any]]:
    """Operations, token counts and images per second, as parts of a record, each as soon as it is known.

    Args:
        model: the reduced model; not measured if its method reduces nothing.
        dense: the model without reduction.
        images: ``[B, 3, H, W]``, on the device to measure on.
        seconds: how long to measure each model.
        precision: makes what the speed is measured in, such as autocast.

    Yields:
        ``results.gflops`` by model; ``tokens_per_block``; ``results.images_per_second`` by model, and at which batch
        size; on a GPU ``results.images_per_second_replayed``, the same for CUDA graphs of the models.
    """
    models: dict[str, nn.Module] = {"dense": dense.to(images.device)}
    if model.method.reduces:
        models["reduced"] = model.to(images.device)
    some = images if model.method.dynamic else images[:1]  # the same for every image, but for such methods
    with torch.compiler.set_stance("force_eager"):  # operations are counted where PyTorch dispatches them
        gflops = {name: gflops_per_image(one, some) for name, one in models.items()}
        if model.method.by_threshold:  # which counted one image after the other
            with torch.inference_mode():
                model.eval()(some)
    yield {"results": {"gflops": gflops}}
    yield {"tokens_per_block": model.tokens_per_block()}
    with precision():
        speed = images_per_second(models, images, seconds)
    yield {"results": {"images_per_second": speed, "measured_at_batch_size": len(images)}}
    if replays(images) and getattr(model, "replayable", True):
        yield from _replayed(models, images, seconds, precision)


def replays(images: Tensor) -> bool:
    """Whether CUDA graphs are measured too."""
    return images.is_cuda


def _replayed(
    models: Mapping[str, nn.Module],
    images: Tensor,
    seconds: float,
    precision: Callable[[], AbstractContextManager[Any]],
) -> Iterator[Mapping[str, Any]]:
    """The speed of CUDA graphs of the models, where they can be captured; a run does not end for those that cannot."""
    training = {name: model.training for name, model in models.items()}
    try:
        with precision():
            graphs = {name: cuda_graph(model.eval(), images) for name, model in models.items()}
        yield {"results": {"images_per_second_replayed": images_per_second(graphs, images, seconds)}}
    except (RuntimeError, ValueError) as error:
        log.warning("no speed as a CUDA graph: %s", " ".join(str(error).split()))
    finally:
        for name, model in models.items():
            model.train(training[name])

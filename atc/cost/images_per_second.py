"""Images per second."""

import functools
import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from atc.cost.interleaved import interleave
from atc.vit.cuda_graph import CudaGraph

MOST_RUNS = 50


def images_per_second(
    models: Mapping[str, nn.Module | CudaGraph], images: Tensor, seconds: float = 1.0
) -> dict[str, float]:
    """Forward throughput of each model on `images` [B, 3, H, W], on their device and the threads PyTorch uses.

    The models take turns, so that a busy moment of the machine meets them all, and the fastest run of each counts,
    out of as many (2 to 50) as take about `seconds` per model.
    """
    modules = [model for model in models.values() if isinstance(model, nn.Module)]
    training = [model.training for model in modules]
    for model in modules:
        model.eval()
    forwards = {name: functools.partial(model, images) for name, model in models.items()}
    wait = functools.partial(torch.cuda.synchronize, images.device) if images.is_cuda else lambda: None
    timed = functools.partial(interleave, forwards, clock=time.perf_counter, wait=wait)
    with torch.inference_mode():
        slowest = max(timing.least for timing in timed(runs=1).values())
        timings = timed(runs=min(MOST_RUNS, max(2, int(seconds / (2 * slowest)))))
    for model, was in zip(modules, training, strict=True):
        model.train(was)
    return {name: len(images) / timing.least for name, timing in timings.items()}

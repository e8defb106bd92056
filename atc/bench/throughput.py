"""Images per second."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer


def images_per_second(models: Mapping[str, nn.Module], images: Tensor, seconds: float = 1.0) -> dict[str, float]:
    """Forward throughput of each model on `images` [B, 3, H, W], on their device and the threads PyTorch uses.

    The median of runs that take about `seconds` per model: PyTorch's benchmark timer, which warms up and waits for
    the device.
    """
    return {name: len(images) / _seconds_per_run(model, images, seconds) for name, model in models.items()}


def _seconds_per_run(model: nn.Module, images: Tensor, seconds: float) -> float:
    training = model.training
    with torch.inference_mode():
        timer = Timer(
            "model(images)",
            globals={"model": model.eval(), "images": images},
            num_threads=torch.get_num_threads(),  # the timer's own default is one
        )
        median = timer.blocked_autorange(min_run_time=seconds).median
    model.train(training)
    return median

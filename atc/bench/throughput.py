"""Images per second."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer


def images_per_second(models: Mapping[str, nn.Module], images: Tensor, seconds: float = 1.0) -> dict[str, float]:
    """Forward throughput of each model on `images` [B, 3, H, W], on their device and the threads PyTorch uses.

    The median over runs of at least `seconds` per model (PyTorch's benchmark timer, which warms up and waits
    for the device); the models take turns in two rounds, of which the faster counts.
    """
    speeds = dict.fromkeys(models, 0.0)
    training = {name: model.training for name, model in models.items()}
    for _ in range(2):
        for name, model in models.items():
            timer = Timer(
                "model(images)",
                globals={"model": _inference(model), "images": images},
                num_threads=torch.get_num_threads(),
            )
            median = timer.blocked_autorange(min_run_time=seconds / 2).median
            speeds[name] = max(speeds[name], len(images) / median)
    for name, model in models.items():
        model.train(training[name])
    return speeds


def _inference(model: nn.Module):  # type: ignore[no-untyped-def]
    return torch.inference_mode()(model.eval().forward)

"""Images per second."""

import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer

ROUNDS = 8  # as many as there is time for, but two at least


def images_per_second(models: Mapping[str, nn.Module], images: Tensor, seconds: float = 1.0) -> dict[str, float]:
    """Forward throughput of each model on `images` [B, 3, H, W], on their device and the threads PyTorch uses.

    The models take turns, so that a busy moment of the machine meets them all, and the fastest of up to 8 rounds
    counts for each; they take about `seconds` per model together. Timed by PyTorch's benchmark timer, which waits
    for the device.
    """
    training = {name: model.training for name, model in models.items()}
    # The timer's own default is one thread.
    timers = {
        name: Timer(
            "model(images)", globals={"model": model.eval(), "images": images}, num_threads=torch.get_num_threads()
        )
        for name, model in models.items()
    }
    with torch.inference_mode():
        for timer in timers.values():
            timer.timeit(1)  # which warms up before it counts
        once = {name: timer.timeit(1).median for name, timer in timers.items()}
        runs = {name: max(1, int(seconds / ROUNDS / once[name])) for name in models}
        fastest, end = once, time.perf_counter() + seconds * len(models)
        for done in range(ROUNDS):
            if done >= 2 and time.perf_counter() > end:
                break
            fastest = {name: min(fastest[name], timer.timeit(runs[name]).median) for name, timer in timers.items()}
    for name, model in models.items():
        model.train(training[name])
    return {name: len(images) / fastest[name] for name in models}

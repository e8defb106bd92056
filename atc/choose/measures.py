"""What candidates are compared by: agreement with the dense model, and cost beside its cost."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atc.choose.candidates import Candidate
from atc.cost.flops import gflops_per_image
from atc.cost.interleaved import interleave
from atc.vit.reduced import ReducedViT

LEAST_RUNS, MOST_RUNS = 3, 100
SEVERAL = 16  # images whose operations are counted, one by one, where they keep different numbers of tokens


class Agreement(NamedTuple):
    """How far a model answers as the dense model does; the larger of two agrees more.

    Attributes:
        top1: share of the images on which both have the same class in front.
        divergence: minus the mean Kullback-Leibler divergence of the model's distribution over the classes from that
            of the dense model, in nats: it tells apart models of the same `top1`.
    """

    top1: float
    divergence: float


class Comparison:
    """A dense model on images, beside which candidates are put.

    Args:
        vit: the model without reduction, on its device.
        images: ``[N, 3, H, W]``, on the CPU.
        chosen_on: the first so many of them are for choosing, the rest is for checking.
        batch_size: images in a forward.
        seed: for methods that draw random numbers.
    """

    def __init__(self, vit: nn.Module, images: Tensor, chosen_on: int, batch_size: int, seed: int):
        self.vit, self.batch_size, self.seed = vit, batch_size, seed
        self.device = next(vit.parameters()).device
        self.parts = {"choose": images[:chosen_on], "check": images[chosen_on:]}
        self.dense = {part: self._logits(vit, part) for part in self.parts}

    def agreement(self, candidate: Candidate, part: str = "choose") -> Agreement:
        """The agreement of a candidate on one part of the images, "choose" or "check"."""
        torch.manual_seed(self.seed)
        own, dense = self._logits(candidate.model(self.vit), part), self.dense[part]
        same = own.argmax(1) == dense.argmax(1)
        divergence = F.kl_div(own.log_softmax(1), dense.log_softmax(1), log_target=True, reduction="batchmean")
        return Agreement(same.double().mean().item(), -divergence.item())

    def _logits(self, model: nn.Module, part: str) -> Tensor:
        """``[N, classes]`` float64, on the CPU."""
        found = []
        with torch.inference_mode():
            for batch in self.parts[part].split(self.batch_size):
                found.append(model(batch.to(self.device)).double().cpu())
        return torch.cat(found) if found else torch.empty(0, 1, dtype=torch.float64)


class GFLOPs:
    """Operations of a candidate as a share of those of the dense model.

    Args:
        vit: the model without reduction.
        images: a batch ``[B, 3, H, W]`` on its device.
    """

    def __init__(self, vit: nn.Module, images: Tensor):
        self.vit, self.images = vit, images
        self.dense = gflops_per_image(vit, images[:1])
        self.known: dict[Candidate, float] = {}

    def __call__(self, candidate: Candidate) -> float:
        """The share; of methods whose counts differ between images, over 16 images."""
        if candidate not in self.known:
            model = candidate.model(self.vit)
            images = self.images[:SEVERAL] if model.method.dynamic else self.images[:1]
            self.known[candidate] = gflops_per_image(model, images) / self.dense
        return self.known[candidate]


class Latency:
    """Time that a candidate takes for a batch as a share of the time that the dense model takes, both in turns.

    Args:
        vit: the model without reduction.
        images: a batch ``[B, 3, H, W]`` on its device.
        seconds: how long to measure a candidate, about.
    """

    def __init__(self, vit: nn.Module, images: Tensor, seconds: float):
        self.vit, self.images, self.seconds = vit, images, seconds
        self.wait = torch.cuda.synchronize if images.is_cuda else lambda: None
        self.known: dict[Candidate, float] = {}

    def __call__(self, candidate: Candidate) -> float:
        """The share: the median over rounds in which both are timed once."""
        if candidate not in self.known:
            calls: dict[str, Callable[[], object]] = {
                "dense": lambda: self.vit(self.images),
                "reduced": _call(candidate.model(self.vit), self.images),
            }
            with torch.inference_mode():
                start = time.perf_counter()
                calls["dense"]()
                self.wait()
                each = 4 * (time.perf_counter() - start)  # two calls of two models a round
                runs = min(MOST_RUNS, max(LEAST_RUNS, int(self.seconds / max(each, 1e-6))))
                timings = interleave(calls, runs, time.perf_counter, self.wait)
            rounds = zip(timings["dense"].all, timings["reduced"].all, strict=True)
            shares = sorted(reduced / dense for dense, reduced in rounds)
            self.known[candidate] = shares[len(shares) // 2]
        return self.known[candidate]


def _call(model: ReducedViT, images: Tensor) -> Callable[[], object]:
    return lambda: model(images)

"""One image from a pipeline."""

import time
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from atc.diffusion.handle import Handle
from atc.diffusion.prompts import Wanted


class Sampling(NamedTuple):
    """How images are sampled.

    Attributes:
        steps: of the sampler.
        guidance: how much the prompt counts; 1 is without guidance.
        height: pixels; None: what the pipeline is made for.
        width: likewise.
    """

    steps: int = 50
    guidance: float = 7.5
    height: int | None = None
    width: int | None = None


class Sampled(NamedTuple):
    """An image, how long it took, and which tokens merged.

    Attributes:
        image: the image.
        seconds: of wall time, without waiting for the device before or behind.
        tokens: block, site, N and K of each place that merged in the last step.
    """

    image: Image.Image
    seconds: float
    tokens: list[tuple[str, str, int, int]]


def sample(
    pipeline: Any,
    wanted: Wanted,
    sampling: Sampling,
    *,
    handle: Handle | None = None,
    drawing: torch.Generator | None = None,
    drawing_seed: int | None = None,
) -> Sampled:
    """Generate one image, alone in its batch and without a negative prompt.

    Args:
        pipeline: of diffusers.
        wanted: prompt and seed.
        sampling: how.
        handle: of the reduction of the pipeline.
        drawing: the generator that the reduction draws from, seeded anew for the image.
        drawing_seed: what it is seeded with, plus the seed of the image.

    Returns:
        The image.

    Raises:
        ValueError: the image is not made of finite numbers; one line.
    """
    device = pipeline._execution_device if hasattr(pipeline, "_execution_device") else pipeline.device
    generator = torch.Generator(device).manual_seed(wanted.seed)
    if drawing is not None:
        drawing.manual_seed((drawing_seed or 0) + wanted.seed)
    size = {key: value for key in ("height", "width") if (value := getattr(sampling, key)) is not None}
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="invalid value encountered in cast")
        pixels = pipeline(
            wanted.prompt,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            generator=generator,
            output_type="np",
            **size,
        ).images[0]
    seconds = time.perf_counter() - started
    if not np.isfinite(pixels).all():
        raise ValueError(
            f"{wanted.file}: the pipeline computed numbers that are not finite in {pipeline.dtype}: "
            "sampling.precision=fp32 or bf16"
        )
    image = Image.fromarray((pixels * 255).round().astype(np.uint8))
    tokens = [] if handle is None else [(one.name, one.site, one.tokens_in, one.tokens_out) for one in handle.blocks]
    return Sampled(image, seconds, tokens)

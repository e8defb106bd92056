"""A text-to-image pipeline of diffusers, from the hub or a directory."""

import inspect
import logging
import os
from typing import Any

import torch

from atc.config import generation
from atc.values import shown

log = logging.getLogger(__name__)

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def device_of(name: str | None = None) -> torch.device:
    """The device that a setting names.

    Args:
        name: such as "cuda:1"; None: a GPU if there is one, of several that of this process's LOCAL_RANK.

    Returns:
        The device.

    Raises:
        ValueError: there is no such device; one line.
    """
    if name is None:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % count) if count else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device={shown(name)} must be cpu, cuda, or one of several GPUs as in cuda:1") from None
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= there:
        raise ValueError(f"device={name}: this machine has {there} GPUs; device=cpu computes without")
    if device.type not in ("cpu", "cuda", "mps", "xpu"):
        raise ValueError(f"device={shown(name)} must be cpu, cuda, or one of several GPUs as in cuda:1")
    return device


def precision_of(name: str | None, device: torch.device) -> str:
    """The precision that a setting names: None is fp16 on a GPU, fp32 on a CPU."""
    return name or ("fp32" if device.type == "cpu" else "fp16")


def load_pipeline(name: str | os.PathLike[str], precision: str, device: torch.device) -> Any:
    """A pipeline, without its safety checker, which would replace images.

    Args:
        name: a repository of the Hugging Face hub, or a directory that a pipeline was saved to.
        precision: fp32, fp16 or bf16.
        device: where to.

    Returns:
        The pipeline.

    Raises:
        ValueError: there is no such pipeline, or it does not make images of text; one line.
    """
    diffusers = _diffusers()
    generation.check_pipeline(name)
    try:
        index = diffusers.DiffusionPipeline.load_config(str(name))
        without = {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in index else {}
        pipeline = diffusers.DiffusionPipeline.from_pretrained(str(name), dtype=PRECISIONS[precision], **without)
    except Exception as error:  # of the hub, of diffusers, of transformers: any kind
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"pipeline={shown(str(name))} cannot be loaded: {said}") from error
    if not makes_images_of_text(pipeline):
        raise ValueError(
            f"pipeline={shown(str(name))} is a {type(pipeline).__name__}, and must be one that makes images of text "
            "alone, such as a StableDiffusionPipeline"
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def makes_images_of_text(pipeline: Any) -> bool:
    """Whether a pipeline takes a prompt and no image."""
    taken = inspect.signature(type(pipeline).__call__).parameters
    wanted = {"prompt", "num_inference_steps", "guidance_scale", "generator", "output_type"}
    return wanted <= set(taken) and "image" not in taken


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise ValueError(
            f"images are generated with diffusers, which is not installed ({error}): "
            'pip install "atc-toolkit[diffusion]"'
        ) from error
    import transformers

    for library in (diffusers, transformers):  # whose bars and hints say nothing of the images
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    return diffusers


def sampler_notice(pipeline: Any) -> str | None:
    """One line where a pipeline's scheduler is none of the paper's, which is PLMS."""
    scheduler = pipeline.scheduler
    if type(scheduler).__name__ == "PNDMScheduler" and scheduler.config.get("skip_prk_steps"):
        return None
    return f"sampled with the pipeline's own {type(scheduler).__name__}; the paper's is PLMS"

"""Pipelines of diffusers with small random networks: they need no download, and draw noise in seconds on a CPU.

python -m atc.diffusion.tiny tiny-sd    writes one to the directory tiny-sd, for commands that take a pipeline

They have all parts of the real ones, for trying what works on a whole pipeline. The latent is half the image in height
and width; the first and the last blocks of the UNets work at its full size, with as many tokens as it has pixels.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from atc.diffusion import tiny_parts
from atc.diffusion.tiny_parts import WIDTH
from atc.values import Count, Seed, checked


@checked
def stable_diffusion(size: Count = 64, seed: Seed = 0) -> Any:
    """A pipeline like Stable Diffusion 1.5: CLIP, a UNet, a VAE, and the PLMS sampler with the numbers of that model.

    Args:
        size: of an image by default, in pixels.
        seed: of the weights; other random numbers are not touched.

    Returns:
        A `StableDiffusionPipeline`, in float32 on the CPU.
    """
    import diffusers

    with _drawn_from(seed):
        return _ready(
            diffusers.StableDiffusionPipeline(
                vae=tiny_parts.vae(size),
                text_encoder=tiny_parts.text_encoder(),
                tokenizer=tiny_parts.tokenizer(),
                unet=tiny_parts.unet(size, cross_attention_dim=WIDTH),
                scheduler=tiny_parts.sampler(),
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
        )


@checked
def inpainting(size: Count = 64, seed: Seed = 0) -> Any:
    """A pipeline like Stable Diffusion's for inpainting, whose UNet sees the mask and the masked image.

    Args:
        size: see `stable_diffusion`.
        seed: see `stable_diffusion`.

    Returns:
        A `StableDiffusionInpaintPipeline`.
    """
    import diffusers

    parts = stable_diffusion(size, seed).components
    with _drawn_from(seed):
        parts["unet"] = tiny_parts.unet(size, cross_attention_dim=WIDTH, in_channels=9)
    return _ready(diffusers.StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False))


@checked
def stable_diffusion_xl(size: Count = 64, seed: Seed = 0) -> Any:
    """A pipeline like Stable Diffusion XL: two text encoders, no attention at the full size of the latent.

    Args:
        size: see `stable_diffusion`.
        seed: see `stable_diffusion`.

    Returns:
        A `StableDiffusionXLPipeline`.
    """
    import diffusers

    with _drawn_from(seed):
        unet = tiny_parts.unet(
            size,
            cross_attention_dim=2 * WIDTH,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        )
        return _ready(
            diffusers.StableDiffusionXLPipeline(
                vae=tiny_parts.vae(size),
                text_encoder=tiny_parts.text_encoder(),
                text_encoder_2=tiny_parts.text_encoder(projected=True),
                tokenizer=tiny_parts.tokenizer(),
                tokenizer_2=tiny_parts.tokenizer(),
                unet=unet,
                scheduler=tiny_parts.sampler(),
            )
        )


@checked
def stable_diffusion_3(size: Count = 64, seed: Seed = 0, dual_attention: bool = False) -> Any:
    """A pipeline like Stable Diffusion 3: a transformer on patches of 2 x 2 latent pixels; without T5.

    Args:
        size: see `stable_diffusion`.
        seed: see `stable_diffusion`.
        dual_attention: as in Stable Diffusion 3.5, whose first blocks attend within the image a second time.

    Returns:
        A `StableDiffusion3Pipeline`.
    """
    import diffusers

    with _drawn_from(seed):
        return _ready(
            diffusers.StableDiffusion3Pipeline(
                transformer=diffusers.SD3Transformer2DModel(
                    sample_size=size // 2,
                    patch_size=2,
                    in_channels=4,
                    num_layers=2,
                    attention_head_dim=8,
                    num_attention_heads=4,
                    joint_attention_dim=2 * WIDTH,
                    caption_projection_dim=32,
                    pooled_projection_dim=2 * WIDTH,
                    out_channels=4,
                    pos_embed_max_size=size,
                    dual_attention_layers=(0,) if dual_attention else (),
                ),
                scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
                vae=tiny_parts.vae(size, shift_factor=0.0609),
                text_encoder=tiny_parts.text_encoder(projected=True),
                text_encoder_2=tiny_parts.text_encoder(projected=True),
                text_encoder_3=None,
                tokenizer=tiny_parts.tokenizer(),
                tokenizer_2=tiny_parts.tokenizer(),
                tokenizer_3=None,
            )
        )


@checked
def control_net(size: Count = 64, seed: Seed = 0) -> Any:
    """A pipeline like `stable_diffusion` whose UNet is steered by a ControlNet that sees a second image.

    Args:
        size: see `stable_diffusion`.
        seed: see `stable_diffusion`.

    Returns:
        A `StableDiffusionControlNetPipeline`.
    """
    import diffusers

    parts = stable_diffusion(size, seed).components
    with _drawn_from(seed):
        steering = diffusers.ControlNetModel.from_unet(
            parts["unet"], conditioning_embedding_out_channels=(8, 16), conditioning_channels=3
        )
        for name, parameter in steering.named_parameters():
            if name.startswith(("controlnet_", "controlnet_cond_embedding.conv_out")):  # zero at first: nothing steers
                torch.nn.init.normal_(parameter, std=0.05)
    return _ready(
        diffusers.StableDiffusionControlNetPipeline(**parts, controlnet=steering, requires_safety_checker=False)
    )


KINDS: dict[str, Callable[..., Any]] = {
    one.__name__: one for one in (stable_diffusion, inpainting, stable_diffusion_xl, stable_diffusion_3, control_net)
}


@contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _ready(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipeline


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a pipeline; the exit status: 0, 2 after an error of the user's, 130 after Ctrl-C."""
    from atc.config import streams

    return streams.ended(lambda: _answer(arguments))


def _answer(arguments: Sequence[str] | None) -> int:
    from atc.printable import printable

    parser = argparse.ArgumentParser("python -m atc.diffusion.tiny", description="Write a small random pipeline.")
    parser.add_argument("directory", type=Path, help="to write to; it must be empty or not be there")
    parser.add_argument("--kind", choices=tuple(KINDS), default="stable_diffusion")
    parser.add_argument("--size", type=int, default=64, help="of an image by default, in pixels, a multiple of 8")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    given = parser.parse_args(arguments)
    try:
        if given.directory.exists() and (not given.directory.is_dir() or any(given.directory.iterdir())):
            raise ValueError(f"{given.directory} must be an empty directory or not be there: nothing is overwritten")
        if given.size < 8 or given.size % 8:
            raise ValueError(f"size={given.size} must be a multiple of 8")
        KINDS[given.kind](given.size, given.seed).save_pretrained(given.directory)
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    print(printable(str(given.directory)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

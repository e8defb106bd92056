"""The networks of `atc.diffusion.tiny`: small, with random weights."""

from typing import Any

WIDTH = 32  # channels of the text encoders and of the first blocks of a UNet


def tokenizer() -> Any:
    """CLIP's, with a vocabulary of the 256 bytes alone: any text is so many bytes long.

    Returns:
        A `CLIPTokenizer` for texts of up to 77 tokens.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    characters = sorted(ByteLevel.alphabet())
    words = [*characters, *(f"{one}</w>" for one in characters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=77)


def text_encoder(projected: bool = False) -> Any:
    """A text encoder of CLIP.

    Args:
        projected: with the projection into the space of images.

    Returns:
        A `CLIPTextModel`, or a `CLIPTextModelWithProjection`.
    """
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=514,
        hidden_size=WIDTH,
        intermediate_size=64,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def unet(size: int, **settings: Any) -> Any:
    """A UNet of two resolutions.

    Args:
        size: of an image, in pixels; the latent has half as many in height and width.
        **settings: of `UNet2DConditionModel`, in place of the defaults here.

    Returns:
        A `UNet2DConditionModel`.
    """
    from diffusers import UNet2DConditionModel

    defaults = {
        "sample_size": size // 2,
        "in_channels": 4,
        "out_channels": 4,
        "layers_per_block": 1,
        "block_out_channels": (WIDTH, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**(defaults | settings))


def vae(size: int, **settings: Any) -> Any:
    """A VAE that halves height and width.

    Args:
        size: of an image, in pixels.
        **settings: of `AutoencoderKL`, beside those here.

    Returns:
        An `AutoencoderKL`.
    """
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(16, 32),
        latent_channels=4,
        norm_num_groups=8,
        sample_size=size,
        **settings,
    )


def sampler() -> Any:
    """The PLMS sampler, as Stable Diffusion 1.5 has it.

    Returns:
        A `PNDMScheduler`.
    """
    from diffusers import PNDMScheduler

    return PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )

"""The networks of a pipeline, their transformer blocks, and at what size each block works.

Classes are told by their names: diffusers is not imported.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import nn

KINDS = ("BasicTransformerBlock", "JointTransformerBlock")
_OVER_TIME = ("TransformerTemporalModel", "AnimateDiffTransformer3D")  # their tokens are frames, not places
_OF_STAGES = ("UNet2DConditionModel", "ControlNetModel")  # whose down_blocks halve the latent, one after the other


class Block(NamedTuple):
    """A transformer block of a network."""

    name: str
    module: nn.Module
    joint: bool  # of Stable Diffusion 3: text and image attend together
    downsample: int | None  # how many times smaller than the latent it works; None where only a call can tell


def networks(given: Any, controlnet: bool) -> dict[str, nn.Module]:
    """The networks that are to be reduced.

    Args:
        given: a pipeline of diffusers, or a network.
        controlnet: those of ControlNets too.

    Returns:
        Networks by what their names begin with: "", then "controlnet." or "controlnet.nets.0." and so on.

    Raises:
        ValueError: nothing that could be reduced, or no ControlNet where one is asked for.
    """
    if isinstance(given, nn.Module):
        found = {"": given}
    else:
        parts = [getattr(given, name, None) for name in ("unet", "transformer")]
        if not (modules := [part for part in parts if isinstance(part, nn.Module)]):
            raise ValueError(
                f"{type(given).__name__} has no unet and no transformer: give a pipeline of diffusers, or its UNet"
            )
        found = {"": modules[0]}
    if controlnet:
        steering = getattr(given, "controlnet", None)
        if not isinstance(steering, nn.Module):
            raise ValueError(f"controlnet=true, but {type(given).__name__} has no ControlNet")
        several = getattr(steering, "nets", None)
        if several is None:
            found["controlnet."] = steering
        else:
            found |= {f"controlnet.nets.{number}.": one for number, one in enumerate(several)}
    return found


def blocks(network: nn.Module) -> list[Block]:
    """The transformer blocks of a network whose tokens are places of an image, in its order of modules.

    Args:
        network: a UNet, a transformer or a ControlNet of diffusers.

    Returns:
        The blocks.
    """
    downsamples = dict(_downsamples(network))
    found = []
    frames: tuple[str, ...] = ()
    for name, module in network.named_modules():
        classes = {one.__name__ for one in type(module).__mro__}
        if classes & set(_OVER_TIME):
            frames = (*frames, f"{name}.")
        joint = KINDS[1] in classes
        if (joint or KINDS[0] in classes) and not name.startswith(frames):
            stage = next((factor for prefix, factor in downsamples.items() if name.startswith(prefix)), None)
            found.append(Block(name, module, joint, 1 if joint else stage))
    return found


def default_latent(network: nn.Module) -> tuple[int, int] | None:
    """Height and width of the latent that a network draws by default; None where its configuration does not say."""
    size = getattr(getattr(network, "config", None), "sample_size", None)
    if isinstance(size, (list, tuple)) and len(size) == 2:
        return int(size[0]), int(size[1])
    return (size, size) if isinstance(size, int) else None


def patch_of(network: nn.Module) -> int:
    """Latent pixels along a side of a token of Stable Diffusion 3."""
    config: Any = network.config
    return int(config.patch_size)


def _downsamples(network: nn.Module) -> Iterator[tuple[str, int]]:
    """How many times smaller than the latent a stage of a UNet works, by the beginning of the names of its modules."""
    if not any(one.__name__ in _OF_STAGES for one in type(network).__mro__):
        return
    unet: Any = network
    factor = 1
    for number, stage in enumerate(unet.down_blocks):
        yield f"down_blocks.{number}.", factor
        if getattr(stage, "downsamplers", None) is not None:
            factor *= 2
    yield "mid_block.", factor
    for number, stage in enumerate(getattr(unet, "up_blocks", ())):
        yield f"up_blocks.{number}.", factor
        if getattr(stage, "upsamplers", None) is not None:
            factor //= 2

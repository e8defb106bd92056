"""From images or ready tokens to a token sequence, and between tokens and the source patches that they hold.

Letters: B batch, P prefix tokens, N0 source patches, K tokens left, C channels.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from atc.core import Assign
from atc.vit.host_checks import checked_tokens

if TYPE_CHECKING:
    from atc.vit.reduced import ReducedViT
    from atc.vit.stream import Stream


def embedded(
    model: "ReducedViT", images: Tensor | None, options: Mapping[str, Any] | None
) -> tuple[Tensor, Tensor | None, tuple[int, int]]:
    """Tokens ``[B, P+N0, C]`` that enter the first block, their rotary embeddings or None, and the grid of patches."""
    if isinstance(images, Tensor) and images.dim() != 4:
        raise ValueError(f"images must be [B, 3, H, W], got {list(images.shape)}; one image is images[None]")
    given: Any = images  # what is no tensor, the model itself refuses
    grid = model.host.grid(given)
    return checked_tokens(model.host, given, model.host.embed(given, **(options or {})), grid)


def ready(
    model: "ReducedViT", tokens: Tensor, grid: tuple[int, int] | None, rope: Tensor | None
) -> tuple[Tensor, Tensor | None, tuple[int, int]]:
    """The same from tokens that were made elsewhere."""
    prefix, width = model.host.prefix, model.host.width
    if grid is None:
        raise ValueError("ready tokens need grid=(rows, columns) of their patches")
    rows, columns = grid
    if tokens.dim() != 3 or tuple(tokens.shape[1:]) != (prefix + rows * columns, width):
        raise ValueError(
            f"tokens of a grid of {rows} x {columns} must be [B, {prefix + rows * columns}, {width}] for this "
            f"{model.host.name}, got {list(tokens.shape)}"
        )
    return tokens, rope, (int(rows), int(columns))


def expanded(stream: "Stream") -> Tensor:
    """``[B, N0, C]``: see `Stream.expanded`."""
    tokens = stream.x[:, stream.prefix :]
    if not stream.reductions.made:
        return tokens
    trace = stream.trace()
    if trace.soft():
        held = trace.source_shares().to(tokens.dtype)
        full = held @ tokens
        return full if stream.left is None else full + (1 - held.sum(dim=2, keepdim=True)) * stream.left
    index = stream.source.clamp_min(0).unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
    full = tokens.gather(1, index)
    left = torch.zeros_like(full) if stream.left is None else stream.left
    return torch.where((stream.source < 0).unsqueeze(-1), left, full)


def grouped(stream: "Stream", patches: Tensor) -> Tensor:
    """``[B, N0, C]`` values of the source patches -> ``[B, K, C]`` those of the tokens that hold them.

    A token takes the mean of its patches. Where sizes do not weigh means, the stages are applied again one after the
    other, with every token counted once.

    Raises:
        ValueError: the method shares patches out over several tokens.
    """
    made = stream.reductions.made
    if not made:
        return patches
    if stream.trace().soft():
        method = stream.model.method.__name__
        raise ValueError(f"{method} shares each patch out over several tokens (Mix), which cannot take patches back")
    weight = torch.ones(patches.shape[:2], device=patches.device, dtype=stream.size.dtype)
    if stream.model.size_weighted:
        plan = made[-1].plan
        return Assign(stream.source, plan.num_out, valid=plan.valid).reduce(patches, weight)
    for reduction in made:
        patches = reduction.plan.reduce(patches, weight)
        weight = torch.ones_like(reduction.size)
        if reduction.plan.valid is not None:
            weight = weight * reduction.plan.valid
    return patches

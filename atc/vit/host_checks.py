"""What must hold for a host, and for the tokens that it makes of images.

Letters: B batch, N patch tokens, P prefix tokens, C channels.
"""

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from atc.ops.arguments import described
from atc.vit.parts import missing

if TYPE_CHECKING:
    from atc.vit.host import Host


def reason_against(host: "Host") -> str | None:
    """Why a model cannot be wrapped with this host, in one line; None if it can."""
    reason: Any = host.refusal()
    if reason and not isinstance(reason, str):
        return f"refusal of its host {_name(host)} must return the reason as text, or None, got {described(reason)}"
    return reason or _wrong(host) or _lacking(host) or host.patched()


def _wrong(host: "Host") -> str | None:
    for name, least, meaning in (("prefix", 0, "tokens before the patches"), ("width", 1, "channels of a token")):
        value = getattr(host, name, None)
        if not isinstance(value, int) or value < least:
            return f"{name} of its host {_name(host)}, the {meaning}, must be a whole number of {least} or more, " + (
                f"got {described(value)}"
            )
    grid, patches = host.default_grid, host.num_patches
    if not _is_grid(grid) or grid[0] * grid[1] != patches:
        return (
            f"its host {_name(host)} has num_patches={described(patches)}, of which default_grid must be the rows and "
            f"columns, got {described(grid)}"
        )
    try:
        inspect.signature(host.head).bind(None, None, False)
    except TypeError:
        taken = inspect.signature(host.head)
        return f"head of its host {_name(host)} must take (x, size, pre_logits=False), and it takes {taken}"
    return None


def _lacking(host: "Host") -> str | None:
    for number, block in enumerate(host.blocks, start=1):
        if lacks := missing(block):
            return (
                f"its host {_name(host)} shows block {number} without {', '.join(lacks)}; block_part and "
                f"attention_part of atc.vit.parts fill in what a layer does not have (docs/hosts.md)"
            )
    return None


def checked_tokens(host: "Host", images: Any, made: Any, grid: Any) -> tuple[Tensor, Tensor | None, tuple[int, int]]:
    """Tokens ``[B, P+N, C]`` that enter the first block, their rotary embeddings or None, and the grid of patches.

    Only shapes are looked at, and those only where they are plain numbers: not while a model is compiled or exported.

    Args:
        host: that made them.
        images: ``[B, 3, H, W]``.
        made: what its `embed` returned.
        grid: what its `grid` returned.

    Raises:
        ValueError: they do not fit each other, or the `prefix` and `width` of the host; one line.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]  # documented, yet not listed
        return *made, grid
    name = _name(host)
    if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[0], Tensor) or made[0].dim() != 3:
        raise ValueError(
            f"{name}.embed must return tokens [B, {host.prefix}+N, {host.width}], and rotary embeddings or None beside "
            f"them, got {_shown(made)}"
        )
    if not _is_grid(grid):
        raise ValueError(f"{name}.grid must return the rows and columns of the patches, got {described(grid)}")
    x, (rows, columns) = made[0], grid
    batch = images.shape[0] if isinstance(images, Tensor) else x.shape[0]
    wanted = [batch, host.prefix + rows * columns, host.width]
    if list(x.shape) != wanted:
        raise ValueError(
            f"{name}.embed must return {wanted} for {batch} images, prefix={host.prefix}, a grid of {rows} x {columns} "
            f"patches and width={host.width}, got {list(x.shape)}: correct the one that is wrong"
        )
    return x, made[1], grid


def _is_grid(grid: Any) -> bool:
    return isinstance(grid, tuple | list) and len(grid) == 2 and all(isinstance(side, int) for side in grid)


def _shown(made: Any) -> str:
    return f"({', '.join(map(described, made))})" if isinstance(made, tuple) else described(made)


def _name(host: "Host") -> str:
    return type(host).__name__

"""The patch projection, patch positions and blocks of a plain ViT, without CLS token, final norm and head."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from atc.vit.host import Host, host_of

PATCH = 16  # pixels along a side of a patch
DEFAULT_GRID = 50, 84  # of 800 x 1333 pixels, padded to multiples of 32


class PatchTokens(nn.Module):
    """What dense tasks use of a ViT; its modules and parameters are those of the ViT, under the same names.

    Args:
        vit: a plain ViT of timm with patches of 16 x 16 pixels.

    Attributes:
        patch_embed: the ViT's; only its projection, and a norm behind that, are called.
        pos_embed: ``[1, P+M, C]``, positions of M patches behind those of P tokens that are not used.
        blocks: the ViT's.
        embed_dim: C.
        position_grid: rows and columns of the M patches.
        grad_checkpointing: recompute activations in the backward pass.

    Raises:
        ValueError: a ViT of another kind, in one line.
    """

    def __init__(self, vit: nn.Module):
        super().__init__()
        host = host_of(vit)
        model: Any = vit
        if reason := _unfit(model):
            raise ValueError(f"cannot use this {host.name} for dense tasks: {reason}")
        self.patch_embed, self.pos_embed, self.blocks = model.patch_embed, model.pos_embed, model.blocks
        self.embed_dim = int(model.embed_dim)
        self.position_grid = host.default_grid
        self.grad_checkpointing = bool(getattr(model, "grad_checkpointing", False))
        self.train(model.training)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, or keep them."""
        self.grad_checkpointing = enable

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` -> tokens ``[B, N, C]`` with their positions, rows of patches one after the other."""
        x = self.patch_embed.proj(images)
        rows, columns = x.shape[-2:]
        tokens = self.patch_embed.norm(x.flatten(2).transpose(1, 2))
        return tokens + self.positions((rows, columns)).to(tokens.dtype)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """``[1, N, C]``: the positions of patches, bicubic on another grid, without antialiasing."""
        rows, columns = self.position_grid
        stored = self.pos_embed[:, self.pos_embed.shape[1] - rows * columns :]
        stored = stored.to(torch.promote_types(stored.dtype, torch.float32))
        maps = stored.reshape(1, rows, columns, -1).permute(0, 3, 1, 2)
        return F.interpolate(maps, size=grid, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)


def _unfit(vit: Any) -> str | None:
    """Why only the patch projection, patch positions and blocks of this model do not make a ViT."""
    projection = getattr(getattr(vit, "patch_embed", None), "proj", None)
    if not isinstance(projection, nn.Conv2d):
        return "its patches are no plain convolution (patch_embed.proj); take a VisionTransformer of timm"
    if tuple(projection.kernel_size) != (PATCH, PATCH) or tuple(projection.stride) != (PATCH, PATCH):
        size = " x ".join(map(str, projection.kernel_size))
        return f"its patch size is {size} pixels; the pyramid at strides 4 to 32 needs {PATCH} x {PATCH}"
    if getattr(vit, "rope", None) is not None:
        return "it has rotary positions; take a ViT with learned positions, such as DeiT"
    if not isinstance(getattr(vit, "pos_embed", None), Tensor):
        return "it has no learned positions (pos_embed); take one that has, such as DeiT"
    entries, patches = vit.pos_embed.shape[1], vit.patch_embed.num_patches
    if entries < patches:
        return f"it has {entries} positions for its {patches} patches"
    if not isinstance(getattr(vit, "norm_pre", nn.Identity()), nn.Identity):
        return (
            "it has a norm before its first block (norm_pre), which would be left out; take one without, such as DeiT"
        )
    return None


class OfPatchTokens(Host):
    """A `PatchTokens`: no prefix tokens, images of any number of patches.

    Args:
        model: the model to describe.
    """

    methods = frozenset({"set_grad_checkpointing"})

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.prefix, self.width = 0, int(self.model.embed_dim)

    @property
    @override
    def name(self) -> str:
        return "ViTAdapter"

    @classmethod
    @override
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, PatchTokens)

    @override
    def refusal(self) -> str | None:
        return None  # that of the ViT was asked for before

    @property
    @override
    def blocks(self) -> Sequence[Any]:
        return self.model.blocks

    @property
    @override
    def num_patches(self) -> int:
        return DEFAULT_GRID[0] * DEFAULT_GRID[1]

    @property
    @override
    def default_grid(self) -> tuple[int, int]:
        return DEFAULT_GRID

    @override
    def grid(self, images: Tensor) -> tuple[int, int]:
        return images.shape[-2] // PATCH, images.shape[-1] // PATCH

    @override
    def embed(self, images: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        return self.model(images), None

    @override
    def norm(self, x: Tensor) -> Tensor:
        return x

    @override
    def head(self, x: Tensor, size: Tensor | None, pre_logits: bool = False) -> Tensor:
        return x

    @override
    def recomputes(self) -> bool:
        return bool(self.model.grad_checkpointing)

    @override
    def skipped(self) -> Sequence[tuple[str, nn.Module]]:
        return [("the patch embedding", self.model.patch_embed)]


HOST = OfPatchTokens

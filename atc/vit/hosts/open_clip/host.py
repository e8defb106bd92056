"""What ATC knows of the image towers of open_clip."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from atc.vit import multihead, poolings
from atc.vit.host import Host, HostOfParts, overridden
from atc.vit.hosts.timm import TimmViT
from atc.vit.parts import Chain, Part, block_part

_PACKAGE = "open_clip."
_OWN = ("forward", "_embeds", "_pool", "_global_pool")


class OpenClipTower(HostOfParts):
    """A tower of CLIP: `clip.visual = atc.wrap(clip.visual)`; `clip.encode_image` then runs it.

    Args:
        model: the model to describe.
    """

    module: ClassVar[str] = "atc.vit.hosts.open_clip.call.ReducedTower"
    methods: ClassVar[frozenset[str]] = frozenset({"set_grad_checkpointing", "no_weight_decay", "lock"})

    def __new__(cls, model: nn.Module | None = None) -> "OpenClipTower":
        """A `TimmModel` has a host of its own; copying and unpickling name the class, and no model."""
        return super().__new__(_OfTimm if cls is OpenClipTower and hasattr(model, "trunk") else cls)

    def __init__(self, model: nn.Module):
        super().__init__(model)
        if not hasattr(model, "class_embedding"):  # refused
            return
        self.prefix, self.width = 1, int(self.model.conv1.out_channels)
        self._blocks = [_block(layer) for layer in self.model.transformer.resblocks if hasattr(layer.attn, "out_proj")]

    @classmethod
    @override
    def knows(cls, model: nn.Module) -> bool:
        return any(base.__module__.startswith(_PACKAGE) for base in type(model).__mro__)

    @property
    @override
    def num_patches(self) -> int:
        return int(self.model.grid_size[0] * self.model.grid_size[1])

    @property
    @override
    def default_grid(self) -> tuple[int, int]:
        rows, columns = self.model.grid_size
        return int(rows), int(columns)

    @override
    def recomputes(self) -> bool:
        return bool(self.model.transformer.grad_checkpointing)

    @override
    def skipped(self) -> list[tuple[str, nn.Module]]:
        return [("the transformer", self.model.transformer)]

    @override
    def refusal(self) -> str | None:
        vit = self.model
        if not hasattr(vit, "class_embedding"):
            return _unknown(vit)
        if owner := overridden(vit, _OWN, f"{_PACKAGE}transformer"):
            return owner
        if vit.attn_pool is not None and vit.attn_pool_contrastive is not None:
            return f"two poolings by attention ({vit.attn_pool_type}) cannot weigh merged tokens; one can"
        for number, layer in enumerate(vit.transformer.resblocks, start=1):
            reason = _unfit(layer)
            if reason is not None:
                return f"block {number} has {reason}"
        return None

    @override
    def grid(self, images: Tensor) -> tuple[int, int]:
        rows, columns = self.model.patch_size
        return images.shape[-2] // rows, images.shape[-1] // columns

    @override
    def embed(self, images: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        vit = self.model
        if vit.training and float(getattr(vit.patch_dropout, "prob", 0.0)) > 0:
            raise ValueError(
                "patch_dropout removes patches in training before any reducer sees them; build the tower with "
                "patch_dropout=0 to train it with its tokens reduced"
            )
        patches = vit.conv1(images).flatten(2).transpose(1, 2)
        cls = vit.class_embedding.to(patches.dtype).expand(images.shape[0], 1, -1)
        x = torch.cat([cls, patches], dim=1)
        if x.shape[1] != len(vit.positional_embedding):
            rows, columns = vit.image_size
            raise ValueError(
                f"images of {images.shape[-2]} x {images.shape[-1]} pixels: this tower takes {rows} x {columns}"
            )
        return vit.ln_pre(x + vit.positional_embedding.to(x.dtype)), None

    @override
    def norm(self, x: Tensor) -> Tensor:
        last = self.model.final_ln_after_pool or self.model.attn_pool is not None
        return x if last else self.model.ln_post(x)

    @override
    def head(self, x: Tensor, size: Tensor | None, pre_logits: bool = False) -> Tensor:
        pooled, _ = self.pooled(x, size)
        return pooled if pre_logits else self.projected(pooled)

    def pooled(self, x: Tensor, size: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the tower pools tokens to, and the tokens that it returns with output_tokens=True.

        Args:
            x: ``[B, P+K, C]``, after `norm`.
            size: ``[B, K]`` weights of the patch tokens; None for equal ones.

        Returns:
            ``[B, C]``, before the projection; and the tokens that are left ``[B, K, C]``, or those of the queries of a
            pooling by attention.
        """
        vit = self.model
        if vit.attn_pool is not None:  # as in CoCa: learned queries, of which the first is pooled
            x, size = vit.ln_post(self._attended(x, size)), None
        pooled, tokens = x[:, 0], x[:, 1:]
        if vit.pool_type == "none":
            pooled = tokens = x
        elif vit.pool_type == "avg":
            pooled = poolings.mean(tokens, size)
        if vit.attn_pool is None and vit.final_ln_after_pool:
            pooled = vit.ln_post(pooled)
        return pooled, tokens

    def projected(self, pooled: Tensor) -> Tensor:
        """``[B, C]``, pooled -> the features that are compared with those of texts."""
        return pooled if self.model.proj is None else pooled @ self.model.proj

    def norm_of_intermediates(self, x: Tensor) -> Tensor:
        """The norm that open_clip applies to intermediates: ``[B, N, C]`` -> the same.

        Raises:
            ValueError: the norm is of what a pooling by attention returns, which is narrower.
        """
        norm = self.model.ln_post
        if norm.normalized_shape[-1] != x.shape[-1]:
            raise ValueError(
                f"normalize_intermediates=True: the norm of this tower is for {norm.normalized_shape[-1]} channels "
                f"after its pooling, and its blocks have {x.shape[-1]}"
            )
        return norm(x)

    def _attended(self, x: Tensor, size: Tensor | None) -> Tensor:
        pool = self.model.attn_pool
        if size is None:
            return pool(x)
        keys, query = pool.ln_k(x), pool.ln_q(pool.query).unsqueeze(0).expand(x.shape[0], -1, -1)
        whole = torch.cat([size.new_ones(size.shape[0], 1), size], dim=1)
        mask = poolings.attention_mask(whole, pool.attn.num_heads, x.dtype).expand(-1, query.shape[1], -1)
        return pool.attn(query, keys, keys, attn_mask=mask, need_weights=False)[0]


class _OfTimm(OpenClipTower):
    """A timm model, `trunk`, and a projection, `head`."""

    def __init__(self, model: nn.Module):
        Host.__init__(self, model)
        self.trunk = TimmViT(self.model.trunk) if TimmViT.knows(self.model.trunk) else None
        if self.trunk is not None:
            self.prefix, self.width = self.trunk.prefix, self.trunk.width

    @property
    def blocks(self) -> Sequence[Any]:
        return self._of_trunk.blocks

    @property
    def num_patches(self) -> int:
        return self._of_trunk.num_patches

    @property
    def default_grid(self) -> tuple[int, int]:
        return self._of_trunk.default_grid

    @property
    def has_cls(self) -> bool:
        return self._of_trunk.has_cls

    @property
    def _of_trunk(self) -> TimmViT:
        assert self.trunk is not None  # refused before
        return self.trunk

    def recomputes(self) -> bool:
        return self._of_trunk.recomputes()

    def skipped(self) -> list[tuple[str, nn.Module]]:
        return [("the trunk", self.model.trunk)]

    def refusal(self) -> str | None:
        if self.trunk is None:
            return f"the trunk of this tower is a {type(self.model.trunk).__name__}, not a plain ViT of timm"
        return overridden(self.model, ("forward",), f"{_PACKAGE}timm_model") or self.trunk.refusal()

    def grid(self, images: Tensor) -> tuple[int, int]:
        return self._of_trunk.grid(images)

    def embed(self, images: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        return self._of_trunk.embed(images)

    def norm(self, x: Tensor) -> Tensor:
        return self._of_trunk.norm(x)

    def norm_of_intermediates(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def head(self, x: Tensor, size: Tensor | None, pre_logits: bool = False) -> Tensor:
        pooled = self._of_trunk.head(x, size)
        return pooled if pre_logits else self.model.head(pooled)


def _unfit(layer: Any) -> str | None:
    if type(layer).__module__ != f"{_PACKAGE}transformer":
        return f"a {type(layer).__name__}, which is not open_clip's"
    if hasattr(layer, "ln_1_kv"):
        return "an attention to other tokens"
    attention = layer.attn
    if type(layer).__name__ == "ResidualAttentionBlock":
        return multihead.refusal(attention)
    if type(attention).__name__ != "Attention" or attention.logit_scale is not None or attention.head_scale is not None:
        return "a scaled attention (scaled_cosine_attn or scale_heads), which cannot weigh merged tokens"
    return None


def _block(layer: Any) -> Part:
    names = {"norm1": "ln_1", "norm2": "ln_2", "mlp": "mlp", "ls1": "ls_1", "ls2": "ls_2"}
    if type(layer.attn) is nn.MultiheadAttention:
        return block_part(layer, names, attn=multihead.multihead(layer.attn))
    own = {"q_norm": "ln_q", "k_norm": "ln_k", "norm": "ln_inner", "attn_drop": "attn_drop", "proj_drop": "out_drop"}
    del names["ls1"]
    return block_part(layer, names, attn=multihead.multihead(layer.attn, own), ls1=Chain(layer, "ln_attn", "ls_1"))


def _unknown(model: Any) -> str:
    name = type(model).__name__
    if hasattr(model, "visual"):
        return f"{name} is more than an image tower; wrap the one in it: clip.visual = atc.wrap(clip.visual)"
    return f"the {name} of open_clip is not a plain ViT; its VisionTransformer and its TimmModel can be wrapped"

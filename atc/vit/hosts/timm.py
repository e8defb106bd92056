"""timm's `VisionTransformer` (distilled or not) and `Eva`."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from timm.layers.attention import Attention, AttentionRope
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from typing_extensions import override

from atc.vit.host import Host

_BLOCKS = {Block: (Attention, AttentionRope), EvaBlock: (EvaAttention, AttentionRope)}
# What a wrapped model computes itself: another version of it in a subclass would not run.
_REPLACED = ("forward", "forward_features")


class TimmViT(Host):
    """A plain sequence of tokens through equal blocks, pooled by CLS, mean or attention.

    Args:
        model: the model to describe.
    """

    classes: ClassVar[tuple[type, ...]] = (VisionTransformer, Eva, VisionTransformerDistilled)
    methods = frozenset(
        {
            *("no_weight_decay", "group_matcher", "get_classifier", "set_grad_checkpointing"),
            *("set_distilled_training", "set_input_size", "pool", "fix_init_weight", "init_weights"),
        }
    )

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.prefix = int(self.model.num_prefix_tokens)
        self.width = int(self.model.embed_dim)

    @classmethod
    @override
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, (VisionTransformer, Eva))

    @property
    @override
    def blocks(self) -> Sequence[Any]:
        return self.model.blocks  # an nn.Sequential or nn.ModuleList

    @property
    @override
    def num_patches(self) -> int:
        return int(self.model.patch_embed.num_patches)

    @property
    @override
    def default_grid(self) -> tuple[int, int]:
        rows, columns = self.model.patch_embed.grid_size
        return int(rows), int(columns)

    @property
    @override
    def has_cls(self) -> bool:
        return getattr(self.model, "cls_token", None) is not None

    @override
    def recomputes(self) -> bool:
        return bool(getattr(self.model, "grad_checkpointing", False))

    @override
    def refusal(self) -> str | None:
        vit, name = self.model, type(self.model).__name__
        for number, block in enumerate(vit.blocks, start=1):
            attentions = _BLOCKS.get(type(block))  # a subclass may compute anything, so the exact class counts
            if attentions is None:
                known = ", ".join(cls.__name__ for cls in _BLOCKS)
                return f"block {number} of this {name} is a {type(block).__name__}; only {known} can be wrapped"
            if type(block.attn) not in attentions:
                known = ", ".join(cls.__name__ for cls in attentions)
                return f"block {number} has a {type(block.attn).__name__} attention; only {known} can be wrapped"
        for method in _REPLACED:
            if owner := self._overridden(method):
                return f"{owner} has a {method} of its own, which a wrapped model would not run"
        if self._pools_by_weight() and (owner := self._pooled_otherwise()):
            return f"{owner} pools in its own way, which cannot weigh merged tokens"
        if getattr(vit, "rope_mixed", False):
            return f"this {name} learns rotary positions per block (rope_mixed), which merged tokens cannot follow"
        pool = getattr(vit, "attn_pool", None)
        if pool is not None and type(pool).__name__ != "AttentionPoolLatent":
            return f"the attention pooling {type(pool).__name__} cannot weigh merged tokens; AttentionPoolLatent can"
        return None

    def _overridden(self, method: str) -> str | None:
        """The subclass of timm's models that replaces a method, if one does."""
        owner = next((cls for cls in type(self.model).__mro__ if method in cls.__dict__), nn.Module)
        return None if owner in self.classes or owner is nn.Module else owner.__name__

    def _pooled_otherwise(self) -> str | None:
        return next(filter(None, map(self._overridden, ("forward_head", "pool", "_pool"))), None)

    def _pools_by_weight(self) -> bool:
        return self.model.attn_pool is not None or self.model.global_pool in ("avg", "avgmax")

    @override
    def grid(self, images: Tensor) -> tuple[int, int]:
        rows, cols = self.model.patch_embed.dynamic_feat_size(tuple(images.shape[-2:]))
        return int(rows), int(cols)

    @override
    def embed(self, images: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        vit = self.model
        if vit.training and float(getattr(getattr(vit, "patch_drop", None), "prob", 0.0)) > 0:
            raise ValueError(
                "patch dropout (patch_drop_rate) removes patches in training before any reducer sees them; build the "
                "model with patch_drop_rate=0 to train it with its tokens reduced"
            )
        x = vit._pos_embed(vit.patch_embed(images))
        x, rope = x if isinstance(x, tuple) else (x, None)
        return vit.norm_pre(x), rope

    @override
    def norm(self, x: Tensor) -> Tensor:
        return self.model.norm(x)

    @override
    def head(self, x: Tensor, size: Tensor | None, pre_logits: bool = False) -> Tensor:
        vit = self.model
        if size is None or not self._pools_by_weight():
            return vit.forward_head(x, pre_logits=pre_logits)
        pool = self._average if vit.attn_pool is None else self._latent
        pooled = vit.head_drop(vit.fc_norm(pool(x, size)))
        return pooled if pre_logits else vit.head(pooled)

    def _average(self, x: Tensor, size: Tensor) -> Tensor:
        if getattr(self.model, "pool_include_prefix", False):
            size = torch.cat([size.new_ones(size.shape[0], self.prefix), size], dim=1)
        else:
            x = x[:, self.prefix :]
        mean = (x * (size / size.sum(dim=1, keepdim=True)).unsqueeze(-1).to(x.dtype)).sum(dim=1)
        return mean if self.model.global_pool == "avg" else 0.5 * (mean + x.amax(dim=1))

    def _latent(self, x: Tensor, size: Tensor) -> Tensor:
        """Attention pooling in which a token of size s counts as s equal patches."""
        log_size = size.log()
        if getattr(self.model, "pool_include_prefix", not hasattr(self.model, "pool_include_prefix")):
            log_size = torch.cat([log_size.new_zeros(size.shape[0], self.prefix), log_size], dim=1)
        else:
            x = x[:, self.prefix :]
        return self.model.attn_pool(x, attn_mask=log_size[:, None, None, :].to(x.dtype))


HOST = TimmViT

"""timm's `DeepseekVitClassifier` and `Qwen3VitClassifier`: vision towers of two language models, pooled by their mean.

Both are newer than the lowest release of timm, so they are known by their names.
"""

from typing import Any, ClassVar

from timm.layers.attention import AttentionRope
from timm.models.eva import EvaAttention, EvaBlock
from torch import Tensor, nn
from typing_extensions import override

from atc.vit import poolings
from atc.vit.host import HostOfParts, overridden
from atc.vit.parts import Part, identity

_MODULES = {
    "DeepseekVitClassifier": "timm.models.deepseek_vit",
    "Qwen3VitClassifier": "timm.models.qwen3_vit",
}


class TimmEncoder(HostOfParts):
    """An `encoder` of patches with rotary positions and without prefix tokens, and a head on their mean.

    Args:
        model: the model to describe.
    """

    methods: ClassVar[frozenset[str]] = frozenset(
        {"no_weight_decay", "group_matcher", "get_classifier", "set_grad_checkpointing"}
    )

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.prefix, self.width = 0, int(self.model.encoder.embed_dim)
        self._blocks = [_block(layer) for layer in self.model.encoder.blocks if hasattr(layer, "attn")]

    @classmethod
    @override
    def knows(cls, model: nn.Module) -> bool:
        return any(_MODULES.get(base.__name__) == base.__module__ for base in type(model).__mro__)

    @property
    @override
    def num_patches(self) -> int:
        return int(self.model.encoder.patch_embed.num_patches)

    @property
    @override
    def default_grid(self) -> tuple[int, int]:
        rows, columns = self.model.encoder.patch_embed.grid_size
        return int(rows), int(columns)

    @override
    def recomputes(self) -> bool:
        return bool(self.model.encoder.grad_checkpointing)

    @override
    def skipped(self) -> list[tuple[str, nn.Module]]:
        return [("the encoder", self.model.encoder)]

    @override
    def refusal(self) -> str | None:
        if self.model.encoder_pool:
            return (
                f"encoder_pool={self.model.encoder_pool} joins neighbouring patches after the last block, which merged "
                f"tokens do not have; the model without it can be wrapped"
            )
        if self.model.global_pool != "avg":
            return "global_pool='' returns a map of all patches; global_pool='avg' can be wrapped"
        module = next(_MODULES[base.__name__] for base in type(self.model).__mro__ if base.__name__ in _MODULES)
        for number, layer in enumerate(self.model.encoder.blocks, start=1):
            known = type(layer) is EvaBlock or type(layer).__module__ == module
            if not known or type(layer.attn) not in (EvaAttention, AttentionRope):
                return f"block {number} is a {type(layer).__name__} that timm does not build here"
        return overridden(self.model, ("forward", "forward_features", "forward_head"), module)

    @override
    def grid(self, images: Tensor) -> tuple[int, int]:
        rows, columns = self.model.encoder.patch_embed.dynamic_feat_size(tuple(images.shape[-2:]))
        return int(rows), int(columns)

    @override
    def embed(self, images: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        encoder = self.model.encoder
        return encoder._pos_embed(encoder.patch_embed(images))

    @override
    def norm(self, x: Tensor) -> Tensor:
        return getattr(self.model.encoder, "norm", identity)(x)

    @override
    def head(self, x: Tensor, size: Tensor | None, pre_logits: bool = False) -> Tensor:
        pooled = self.model.head_drop(self.model.norm(poolings.mean(x, size)))
        return pooled if pre_logits else self.model.head(pooled)


def _block(layer: Any) -> Any:
    if hasattr(layer, "gamma_1"):
        return layer
    names = {name: name for name in ("norm1", "norm2", "attn", "mlp", "drop_path1", "drop_path2")}
    return Part(layer, names, {"ls1": identity, "ls2": identity})


HOST = TimmEncoder

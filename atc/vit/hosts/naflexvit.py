"""timm's `NaFlexVit`, called with images; patches of several sizes in one batch are its own affair."""

from typing import Any, ClassVar

from timm.models.naflexvit import NaFlexVit
from torch import Tensor, nn
from typing_extensions import override

from atc.vit.hosts.timm import TimmViT


class OfNaFlexVit(TimmViT):
    """As timm's plain models, with another embedding."""

    classes: ClassVar[tuple[type, ...]] = (NaFlexVit,)

    @classmethod
    @override
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, NaFlexVit)

    @property
    @override
    def num_patches(self) -> int:
        rows, columns = self.default_grid
        return rows * columns

    @property
    @override
    def default_grid(self) -> tuple[int, int]:
        config = getattr(self.model, "pretrained_cfg", None) or {}
        return self._grid(tuple(config.get("input_size") or (3, 256, 256))[-2:])

    @property
    @override
    def has_cls(self) -> bool:
        return self.model.embeds.cls_token is not None

    def _grid(self, size: tuple[int, ...]) -> tuple[int, int]:
        rows, columns = self.model.embeds.dynamic_feat_size(size)
        return int(rows), int(columns)

    @override
    def refusal(self) -> str | None:
        if getattr(self.model, "rope_is_mixed", False):
            return "this NaFlexVit learns rotary positions per block, which merged tokens cannot follow"
        return super().refusal()

    @override
    def grid(self, images: Tensor) -> tuple[int, int]:
        return self._grid(tuple(images.shape[-2:]))

    @override
    def embed(self, images: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        if not isinstance(images, Tensor) or images.ndim != 4:
            raise ValueError("a wrapped NaFlexVit takes images [B, 3, H, W], not patches of several images")
        if self.model.training and float(getattr(self.model.patch_drop, "prob", 0.0)) > 0:
            raise ValueError(
                "patch dropout (patch_drop_rate) removes patches in training before any reducer sees them; build the "
                "model with patch_drop_rate=0 to train it with its tokens reduced"
            )
        embedded = self.model._forward_embeds(images, patch_coord=None, patch_valid=None, attn_mask=None)
        return embedded["patches"], embedded["rope_embeds"]


HOST = OfNaFlexVit

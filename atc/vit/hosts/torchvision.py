"""torchvision's `VisionTransformer`."""

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from atc.vit.host import HostOfParts, overridden
from atc.vit.multihead import multihead, refusal
from atc.vit.parts import Part, block_part

_MODULE = "torchvision.models.vision_transformer"


class TorchvisionViT(HostOfParts):
    """A CLS token and patches through `encoder.layers`, classified by the CLS token.

    Args:
        model: the model to describe.
    """

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.prefix, self.width = 1, int(self.model.hidden_dim)
        self._blocks = [_block(layer) for layer in self.model.encoder.layers if hasattr(layer, "self_attention")]

    @classmethod
    @override
    def knows(cls, model: nn.Module) -> bool:
        return any((base.__module__, base.__name__) == (_MODULE, "VisionTransformer") for base in type(model).__mro__)

    @property
    @override
    def num_patches(self) -> int:
        return (self.model.image_size // self.model.patch_size) ** 2

    @override
    def skipped(self) -> list[tuple[str, nn.Module]]:
        encoder = self.model.encoder
        return [("the encoder", encoder), ("the list of its layers", encoder.layers)]

    @override
    def refusal(self) -> str | None:
        if owner := overridden(self.model, ("forward", "_process_input"), _MODULE):
            return owner
        for number, layer in enumerate(self.model.encoder.layers, start=1):
            if type(layer).__module__ != _MODULE:
                return f"block {number} is a {type(layer).__name__}, which is not torchvision's EncoderBlock"
            if reason := refusal(layer.self_attention):
                return f"block {number} has {reason}"
        return None

    @override
    def grid(self, images: Tensor) -> tuple[int, int]:
        return images.shape[-2] // self.model.patch_size, images.shape[-1] // self.model.patch_size

    @override
    def embed(self, images: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        vit = self.model
        if images.shape[-2:] != (vit.image_size, vit.image_size):
            raise ValueError(
                f"images of {images.shape[-2]} x {images.shape[-1]} pixels: this VisionTransformer takes "
                f"{vit.image_size} x {vit.image_size}"
            )
        patches = vit.conv_proj(images).flatten(2).transpose(1, 2)
        x = torch.cat([vit.class_token.expand(images.shape[0], -1, -1), patches], dim=1)
        return vit.encoder.dropout(x + vit.encoder.pos_embedding), None

    @override
    def norm(self, x: Tensor) -> Tensor:
        return self.model.encoder.ln(x)

    @override
    def head(self, x: Tensor, size: Tensor | None, pre_logits: bool = False) -> Tensor:
        x = x[:, 0]
        if not pre_logits:
            return self.model.heads(x)
        for name, layer in self.model.heads.named_children():
            x = x if name == "head" else layer(x)
        return x


def _block(layer: Any) -> Part:
    names = {"norm1": "ln_1", "norm2": "ln_2", "mlp": "mlp", "drop_path1": "dropout"}
    return block_part(layer, names, attn=multihead(layer.self_attention))


HOST = TorchvisionViT

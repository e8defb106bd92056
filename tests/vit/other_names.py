"""A ViT of a library that ATC does not know, whose layers have names of their own, and a host for it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atc.vit.host import HostOfParts
from atc.vit.parts import Part


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(32, 32) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).unflatten(-1, (2, 16)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(32), nn.LayerNorm(32)
        self.attention = Attention()
        self.feed_forward = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before(x))
        return x + self.feed_forward(self.between(x))


class OtherNames(nn.Module):
    """A CLS token and 8 x 8 patches through four layers; 5 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, kernel_size=4, stride=4)
        self.cls, self.positions = nn.Parameter(torch.randn(1, 1, 32)), nn.Parameter(torch.randn(1, 65, 32))
        self.layers = nn.ModuleList([Layer() for _ in range(4)])
        self.last, self.classifier = nn.LayerNorm(32), nn.Linear(32, 5)

    def embedded(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        return torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1) + self.positions

    def forward(self, images: Tensor) -> Tensor:
        x = self.embedded(images)
        for layer in self.layers:
            x = layer(x)
        return self.classifier(self.last(x)[:, 0])


class OtherNamesHost(HostOfParts):
    """A host of `OtherNames`; `shown` makes the part of a layer.

    Args:
        model: the model to describe.
    """

    prefix, width, num_patches = 1, 32, 64

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._blocks = [self.shown(layer) for layer in self.model.layers]

    @staticmethod
    def shown(layer: Any) -> Part:
        raise NotImplementedError

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, OtherNames)

    def refusal(self) -> str | None:
        return None

    def grid(self, images: Tensor) -> tuple[int, int]:
        return images.shape[-2] // 4, images.shape[-1] // 4

    def embed(self, images: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        return self.model.embedded(images), None

    def norm(self, x: Tensor) -> Tensor:
        return self.model.last(x)

    def head(self, x: Tensor, size: Tensor | None, pre_logits: bool = False) -> Tensor:
        return x[:, 0] if pre_logits else self.model.classifier(x[:, 0])

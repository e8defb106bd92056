"""A program exported with a dynamic batch takes any number of images, whatever library the model is of."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import atc
from tests.vit.test_torchvision import vit


class Logits(nn.Module):
    """The first tensor of what a wrapped model returns."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        found = self.model(images)
        return found if isinstance(found, Tensor) else found[0]


def _tower(**settings: object) -> nn.Module:
    pytest.importorskip("open_clip")
    from tests.vit.test_open_clip import clip

    return clip(**settings).visual


def _autoencoder() -> nn.Module:
    pytest.importorskip("transformers")
    from tests.vit.pretrained import pretrained

    return pretrained("ViTMAEModel").eval()


MODELS: dict[str, Callable[[], nn.Module]] = {
    "torchvision": vit,
    "open_clip": _tower,
    "open_clip, pooled by attention": lambda: _tower(attentional_pool=True, attn_pooler_queries=4, attn_pooler_heads=2),
    "ViT-MAE": _autoencoder,
}


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_any_number_of_images(name: str) -> None:
    model = Logits(atc.wrap(MODELS[name](), "topk", 0.5, blocks=(2, 3))).eval()
    many = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(model, (many[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(program.module()(many), model(many))

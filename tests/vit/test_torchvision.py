"""torchvision's VisionTransformer, wrapped."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer, swin_t

import atc
from tests.vit.wrapped import images


def vit(cls: type[VisionTransformer] = VisionTransformer, **settings: Any) -> VisionTransformer:
    torch.manual_seed(0)
    small: dict[str, Any] = {"image_size": 64, "patch_size": 16, "num_layers": 4, "num_heads": 2, "hidden_dim": 32}
    model = cls(**(small | {"mlp_dim": 64, "num_classes": 5} | settings)).eval()
    nn.init.normal_(model.heads.head.weight, std=0.1)
    return model


@torch.no_grad()
@pytest.mark.parametrize("settings", [{}, {"representation_size": 8}])
def test_dense_and_reduced(settings: dict[str, Any]) -> None:
    model = vit(**settings)
    dense = atc.wrap(model, "none")
    torch.testing.assert_close(dense(images()), model(images()), atol=1e-6, rtol=0)
    torch.testing.assert_close(dense.double()(images().double()), model(images().double()), atol=1e-13, rtol=0)
    wrapped = atc.wrap(model, "atc_average", 0.5, blocks=(2, 3))
    features = wrapped.forward_features(images().double())
    assert features.shape == (2, 5, 32)
    assert wrapped.trace.tokens() == [8, 4]
    before = wrapped.forward_head(features, pre_logits=True)
    assert torch.equal(model.heads.head(before), wrapped(images().double()))
    assert wrapped.state_dict().keys() == model.state_dict().keys()


def test_trained_with_dropout() -> None:
    model = vit(attention_dropout=0.3).train()
    torch.manual_seed(3)
    expected = model(images())
    torch.manual_seed(3)
    torch.testing.assert_close(atc.wrap(model, "none")(images()), expected, atol=1e-6, rtol=0)
    atc.wrap(model, "dpc_knn", 0.5, blocks=(2, 3))(images()).square().sum().backward()
    assert model.conv_proj.weight.grad.abs().sum() > 0


def test_what_cannot_be_run_is_refused() -> None:
    class Own(VisionTransformer):
        def forward(self, x: Tensor) -> Tensor:
            return x

    class Plain(VisionTransformer):
        pass

    with pytest.raises(ValueError, match="Own has a forward of its own"):
        atc.wrap(vit(Own), "tome", 0.5, blocks=(2,))
    assert atc.wrap(vit(Plain), "tome", 0.5, blocks=(2,))(images()).shape == (2, 5)
    with pytest.raises(ValueError, match=r"images of 96 x 96 pixels: this VisionTransformer takes 64 x 64"):
        atc.wrap(vit(), "tome", 0.5, blocks=(2,))(torch.randn(1, 3, 96, 96))
    for module in ("encoder", "encoder.layers", "encoder.layers.encoder_layer_1.self_attention"):
        model = vit()
        model.get_submodule(module).register_forward_hook(print)
        with pytest.raises(ValueError, match="has the hook print, which would not run"):
            atc.wrap(model, "tome", 0.5, blocks=(2,))
    model = vit()
    model.encoder.layers[1].self_attention = nn.MultiheadAttention(32, 2, add_zero_attn=True, batch_first=True)
    with pytest.raises(ValueError, match=r"block 2 has a MultiheadAttention with additional keys"):
        atc.wrap(model, "tome", 0.5, blocks=(2,))
    with pytest.raises(ValueError, match=r"SwinTransformer is not a plain ViT: it adds relative-position biases"):
        atc.wrap(swin_t(), "tome", 0.5, blocks=(2,))

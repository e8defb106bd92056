"""timm's families beside the plain ones: dense to the bit, reduced, pooled by size, or refused with the true reason."""

from typing import Any

import pytest
import timm
import torch

import atc

_SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 3, "num_heads": 2, "num_classes": 5}
FAMILIES = {
    "naflexvit_base_patch16_gap": {},  # registers, mean
    "naflexvit_base_patch16_map": {},  # attention
    "naflexvit_base_patch16_parfac_gap": {},  # factorised positions
    "qwen3_vit_88m": {"img_size": 64},
    "deepseek_vit_412m": {"img_size": 56},
}
HERE = [name for name in FAMILIES if timm.is_model(name)]  # the newest are in newer releases than the lowest


def build(name: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    vit = timm.create_model(name, **(_SMALL | FAMILIES.get(name, {}) | settings)).eval()
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.1) if not parameter.any() else None
    return vit


def images_for(name: str) -> torch.Tensor:
    side = FAMILIES[name].get("img_size", 64)
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", HERE)
def test_dense_and_reduced(name: str) -> None:
    vit, images = build(name), images_for(name)
    with torch.no_grad():
        assert torch.equal(atc.wrap(vit, "none")(images), vit(images))
    model = atc.wrap(vit, "dpc_knn", 0.5, blocks=(2, 3)).train()
    model(images).square().sum().backward()
    tokens = model.trace[0].tokens_in
    assert model.trace.tokens()[0] < tokens
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if "blocks.0." in name)
    vit.set_grad_checkpointing()
    assert model.host.recomputes()


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in HERE if name.startswith("naflexvit")])
def test_sizes_of_images(name: str) -> None:
    vit = build(name)
    images = torch.randn(2, 3, 64, 96)
    assert torch.equal(atc.wrap(vit, "none")(images), vit(images))
    model = atc.wrap(vit, "tome", 0.5, blocks=(2,))
    model(images)
    assert (model.trace[0].tokens_in, model.trace.tokens()) == (24, [12])
    with pytest.raises((ValueError, TypeError), match="images"):
        model(torch.randn(2, 24, 768))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("beit_base_patch16_224", "adds relative-position biases between fixed places"),
        ("beitv2_base_patch16_224", "adds relative-position biases between fixed places"),
        ("vit_relpos_small_patch16_224", "adds relative-position biases between fixed places"),
        ("swin_tiny_patch4_window7_224", "adds relative-position biases between fixed places"),
        ("cait_xxs24_224", "mixes attention between heads"),
        ("qwen3_vit_88m_merge", "encoder_pool=merge joins neighbouring patches"),
        ("deepseek_vit_412m_align", "encoder_pool=align joins neighbouring patches"),
        ("resnet18", "ResNet is not a plain ViT"),
    ],
)
def test_refused(name: str, match: str) -> None:
    if not timm.is_model(name):
        assert timm.__version__ < "1.0.30"  # not there yet
        return
    with torch.device("meta"):
        model = timm.create_model(name)
    with pytest.raises(ValueError, match=match) as error:
        atc.wrap(model, "tome", 0.5)
    assert "\n" not in str(error.value)

"""Image towers of open_clip, wrapped in their models."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import atc
from tests.vit.wrapped import images

open_clip = pytest.importorskip("open_clip")
from open_clip.timm_model import TimmModel  # noqa: E402
from open_clip.transformer import VisionTransformer  # noqa: E402

_TOWER: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 16,
    "layers": 4,
    "width": 32,
    "head_width": 16,
    "mlp_ratio": 2,
}
_TEXT: dict[str, Any] = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
TOWERS = {
    "plain": {},
    "mean": {"pool_type": "avg"},
    "mean, then norm": {"pool_type": "avg", "final_ln_after_pool": True},
    "layer scale": {"ls_init_value": 0.1, "no_ln_pre": True, "pos_embed_type": "sin_cos_2d"},
    "pooled by attention": {"attentional_pool": True, "attn_pooler_queries": 4, "attn_pooler_heads": 2},
    "normalised": {"qk_norm": True, "scale_attn_inner": True, "scale_attn": True, "scale_fc": True},
}


def clip(**tower: Any) -> nn.Module:
    torch.manual_seed(0)
    model = open_clip.CLIP(16, vision_cfg=_TOWER | tower, text_cfg=_TEXT, quick_gelu=True).eval()
    with torch.no_grad():
        for parameter in model.visual.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@torch.no_grad()
@pytest.mark.parametrize("name", TOWERS)
def test_dense_and_reduced(name: str) -> None:
    model = clip(**TOWERS[name])
    expected = model.encode_image(images(), normalize=True)
    model.visual = atc.wrap(model.visual, "none")
    torch.testing.assert_close(model.encode_image(images(), normalize=True), expected, atol=1e-6, rtol=0)
    model.visual = atc.wrap(atc.unwrap(model.visual), "atc_average", 0.5, blocks=(2, 3))
    found = model.encode_image(images(), normalize=True)
    assert found.shape == expected.shape
    assert model.visual.trace.tokens() == [8, 4]
    assert (found - expected).abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("name", ["mean", "pooled by attention"])
def test_pooling_counts_a_merged_token_as_its_patches(name: str) -> None:
    tower = clip(**TOWERS[name]).visual.double()
    tower.positional_embedding[1:] = 0
    one, other = torch.randn(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(2)).double()
    row = torch.cat([one, one, other, one], dim=3)
    photo = torch.cat([row] * 4, dim=2)
    wrapped = atc.wrap(tower, "atc_average", schedule=atc.core.Stages(keep=[2], blocks=[1]))
    torch.testing.assert_close(wrapped(photo), tower(photo))
    assert sorted(wrapped.trace[0].size[0].tolist()) == [4.0, 12.0]


def test_recomputed_gradients() -> None:
    grads = []
    for enable in (False, True):
        model = clip()
        model.visual = atc.wrap(model.visual, "tome", 0.5, blocks=(2, 3)).train()
        model.set_grad_checkpointing(enable)
        assert model.visual.host.recomputes() == enable
        model.encode_image(images()).square().sum().backward()
        grads.append(model.visual.conv1.weight.grad)
    torch.testing.assert_close(*grads)


@torch.no_grad()
@pytest.mark.parametrize(("name", "pool"), [("vit_tiny_patch16_224", "token"), ("vit_base_patch16_siglip_224", "map")])
def test_timm_models(name: str, pool: str) -> None:
    tower = TimmModel(name, 16, 224, pool=pool, proj="linear").eval()
    photo = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    assert torch.equal(atc.wrap(tower, "none")(photo), tower(photo))
    wrapped = atc.wrap(tower, "atc_average", 0.5)
    inside = atc.wrap(tower.trunk, "atc_average", 0.5)
    assert torch.equal(wrapped(photo), tower.head(inside(photo)))
    assert wrapped.state_dict().keys() == tower.state_dict().keys()


def test_what_cannot_be_run_is_refused() -> None:
    for tower, match in [
        (clip(), r"wrap the one in it: clip\.visual = atc\.wrap\(clip\.visual\)"),
        (clip(scaled_cosine_attn=True).visual, r"block 1 has a scaled attention"),
        (clip(attentional_pool="parallel", attn_pooler_heads=2).visual, r"two poolings by attention \(parallel\)"),
        (clip(layers=[1, 1, 1, 1], width=8).visual, r"the ModifiedResNet of open_clip is not a plain ViT"),
        (TimmModel("resnet18", 16), r"the trunk of this tower is a ResNet, not a plain ViT"),
    ]:
        with pytest.raises(ValueError, match=f"cannot wrap this backbone: .*{match}"):
            atc.wrap(tower, "tome", 0.5, blocks=(2,))
    wrapped = atc.wrap(clip(patch_dropout=0.5).visual, "tome", 0.5, blocks=(2,))
    assert isinstance(wrapped.host.model, VisionTransformer)
    assert wrapped(images()).shape == (2, 16)
    with pytest.raises(ValueError, match="patch_dropout=0 to train it"):
        wrapped.train()(images())
    with pytest.raises(ValueError, match="images of 32 x 32 pixels: this tower takes 64 x 64"):
        wrapped.eval()(images()[..., :32, :32])


@torch.no_grad()
@pytest.mark.parametrize("name", TOWERS)
def test_output_tokens(name: str) -> None:
    """As the captions of CoCa want them: the tokens that are left, or those of the queries that pool."""
    tower = clip(**TOWERS[name], output_tokens=True).visual
    expected = tower(images())
    dense, wrapped = atc.wrap(tower, "none"), atc.wrap(tower, "atc_average", 0.5, blocks=(2, 3))
    for found, right in zip(dense(images()), expected, strict=True):
        torch.testing.assert_close(found, right, atol=1e-6, rtol=0)
    features, tokens = wrapped(images())
    assert tokens.shape == ((2, 3, 16) if "attention" in name else (2, 4, 32))
    assert wrapped.trace.tokens() == [8, 4]
    wrapped.output_tokens = False
    assert torch.equal(wrapped(images()), features)


@torch.no_grad()
@pytest.mark.parametrize("name", ["plain", "pooled by attention", "timm"])
def test_copied_and_saved_as_a_whole(name: str, tmp_path: Path) -> None:
    model, photo = clip(**TOWERS.get(name, {})), images()
    if name == "timm":
        model.visual = TimmModel("vit_tiny_patch16_224", 16, 224, pool="token", proj="linear").eval()
        photo = torch.randn(1, 3, 224, 224)
    model.visual = atc.wrap(model.visual, "tome", 0.5, blocks=(2, 3))
    expected = model.encode_image(photo)
    assert torch.equal(copy.deepcopy(model).encode_image(photo), expected)
    torch.save(model, tmp_path / "whole.pt")
    again = torch.load(tmp_path / "whole.pt", weights_only=False)
    assert torch.equal(again.encode_image(photo), expected)
    assert type(again.visual.host) is type(model.visual.host)


@torch.no_grad()
def test_coca() -> None:
    from open_clip.coca_model import CoCa

    torch.manual_seed(0)
    text = _TEXT | {"embed_cls": True, "output_tokens": True}
    tower = _TOWER | {"attentional_pool": True, "attn_pooler_queries": 4, "attn_pooler_heads": 2, "output_tokens": True}
    captions = CoCa(16, {**_TEXT, "attn_pooler_heads": 2}, text, tower).eval()
    for weights in captions.parameters():  # open_clip leaves some of them as the memory was
        torch.nn.init.normal_(weights, std=0.05)
    words = torch.randint(1, 60, (2, 8))
    expected = captions(images(), words)
    captions.visual = atc.wrap(captions.visual, "none")
    found = captions(images(), words)
    for key in ("image_features", "logits"):
        torch.testing.assert_close(found[key], expected[key], atol=1e-5, rtol=1e-4)
    captions.visual = atc.wrap(atc.unwrap(captions.visual), "tome", 0.5, blocks=(2, 3))
    assert captions(images(), words)["logits"].shape == expected["logits"].shape


@torch.no_grad()
@pytest.mark.parametrize("name", [*TOWERS, "timm"])
@pytest.mark.parametrize("settings", [
    {},
    {"image_indices": [1, 3], "image_output_fmt": "NLC", "image_output_extra_tokens": True},
    {"image_indices": 2, "normalize_intermediates": True, "image_output_extra_tokens": True},
    {"image_indices": [1], "stop_early": True, "intermediates_only": True},
])  # fmt: skip
def test_forward_intermediates(name: str, settings: dict[str, Any]) -> None:
    model, photo = clip(**TOWERS.get(name, {})), images()
    if name == "timm":
        model.visual = TimmModel("vit_tiny_patch16_224", 16, 224, pool="token", proj="linear").eval()
        photo = torch.randn(1, 3, 224, 224)
    if "attention" in name and "normalize_intermediates" in settings:  # which open_clip itself cannot
        model.visual = atc.wrap(model.visual, "none")
        with pytest.raises(ValueError, match="the norm of this tower is for 16 channels after its pooling"):
            model.forward_intermediates(photo, **settings)
        return
    expected = model.forward_intermediates(photo, **settings)
    model.visual = atc.wrap(model.visual, "none")
    found = model.forward_intermediates(photo, **settings)
    assert found.keys() == expected.keys()
    for key, right in expected.items():
        for one, other in zip(found[key], right, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    model.visual = atc.wrap(atc.unwrap(model.visual), "atc_average", 0.5, blocks=(2, 3))
    reduced = model.forward_intermediates(photo, **settings)
    for key, right in expected.items():
        assert [one.shape for one in reduced[key]] == [one.shape for one in right]
    if "image_features" in reduced:
        torch.testing.assert_close(reduced["image_features"], model.encode_image(photo, normalize=True))

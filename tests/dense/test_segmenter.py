"""A linear head on the full-grid features of reduced ViTs: windows, pruned patches, and what is trained."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

import atc
from atc.config import build
from atc.dense.segmenter import Segmenter
from atc.dense.windows import windows
from tests.reducers.amounts import amount

SIDE, PATCH, CLASSES = 32, 8, 5


def small_vit(**settings: Any) -> nn.Module:
    torch.manual_seed(0)
    settings = {"embed_dim": 24, "num_heads": 2, "patch_size": PATCH, "img_size": SIDE, "num_classes": 0} | settings
    return timm.create_model("vit_tiny_patch16_224", **settings)


def segmenter(reducer: str = "none", keep_rate: float | None = None, **settings: Any) -> Segmenter:
    stages = {"blocks": (4,)} if reducer == "tome_2d" else {}
    backbone = atc.wrap(small_vit(), reducer, **({} if keep_rate is None else amount(reducer, keep_rate)), **stages)
    model = Segmenter(backbone, CLASSES, SIDE, **settings)
    nn.init.normal_(model.linear_head.classifier.weight)  # type: ignore[union-attr, arg-type]  # a LinearHead
    return model.eval()


@torch.no_grad()
def by_hand(model: Segmenter, images: Tensor) -> Tensor:
    """The head of timm's own map of features, [B, K, SIDE, SIDE], of one window."""
    vit = model.host.model
    maps = vit.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)[0]
    head: Any = model.linear_head
    logits = F.conv2d(head.norm(maps), head.classifier.weight, head.classifier.bias)
    return F.interpolate(logits, scale_factor=PATCH, mode="bilinear")


def test_without_reduction_it_is_the_head_on_timms_features() -> None:
    model, images = segmenter(), torch.randn(2, 3, SIDE, SIDE)
    model.linear_head(torch.randn(9, 24, 4, 4))
    torch.testing.assert_close(model(images), by_hand(model, images))


@torch.no_grad()
@pytest.mark.parametrize("size", [(50, 90), (32, 33), (20, 70), (31, 17), (64, 32)])
def test_windows_against_a_loop_over_pixels(size: tuple[int, int]) -> None:
    """Each pixel's logits are the mean of those of the windows that it lies in, of an image filled up with zeros."""
    model = segmenter("atc_average", 0.5, stride=21)
    image = torch.randn(1, 3, *size)
    starts = []
    for side in size:
        starts.append([0])
        while starts[-1][-1] + SIDE < side:
            starts[-1].append(min(starts[-1][-1] + 21, side - SIDE))
    total, count = torch.zeros(1, CLASSES, *size), torch.zeros(size)
    for top in starts[0]:
        for left in starts[1]:
            height, width = min(SIDE, size[0]), min(SIDE, size[1])
            part = torch.zeros(1, 3, SIDE, SIDE)
            part[..., :height, :width] = image[..., top : top + height, left : left + width]
            found = model(part)[..., :height, :width]
            total[..., top : top + height, left : left + width] += found
            count[top : top + height, left : left + width] += 1
    torch.testing.assert_close(model(image), total / count)
    assert model.looked_at is not None
    assert torch.equal(model.looked_at, part), "the last window"
    assert model.trace.tokens() == [8, 4, 2]


@torch.no_grad()
def test_an_image_of_one_window_is_seen_whole_and_whatever_the_batch() -> None:
    model, images = segmenter("tome", 0.5), torch.randn(3, 3, SIDE, SIDE)
    assert list(windows((SIDE, SIDE), SIDE, 21)) == [(slice(0, SIDE), slice(0, SIDE))]
    together = model(images)
    for image, found in zip(images, together, strict=True):
        torch.testing.assert_close(model(image[None])[0], found)


def test_windows_cover_every_pixel() -> None:
    for side in (1, 31, 32, 33, 53, 54, 100):
        for stride in (1, 21, 32):
            rows = [rows for rows, _ in windows((side, 5), 32, stride)]
            seen = {row for one in rows for row in range(side)[one]}
            assert seen == set(range(side))
            assert len({(one.start, one.stop) for one in rows}) == len(rows)


@torch.no_grad()
@pytest.mark.parametrize("reducer", [name for name in build.names("reducer") if name != "none"])
def test_every_method_gives_a_label_for_each_pixel(reducer: str) -> None:
    """Patches of one token have the same features; those that were pruned have their last."""
    model, images = segmenter(reducer, 0.5), torch.randn(2, 3, SIDE, SIDE)
    logits = model(images)
    assert logits.shape == (2, CLASSES, SIDE, SIDE)
    assert logits.isfinite().all()
    if model.trace and not model.trace.soft():
        (maps,) = model.backbone.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)
        sources, features = model.trace[-1].source, maps.flatten(2).transpose(1, 2)
        for source, rows in zip(sources, features, strict=True):
            for token in source.unique().tolist():
                mine = rows[source == token]
                if token >= 0:
                    assert torch.equal(mine, mine[:1].expand_as(mine))
                else:
                    assert (mine.norm(dim=1) > 0).all(), "pruned, and still there"


def test_a_pruned_patch_keeps_the_features_that_it_left_with() -> None:
    model, images = segmenter("topk", 0.5), torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        model(images)
        vit, source = model.host.model, model.trace[0].source[0]
        left = int((source < 0).nonzero()[0])  # at the first stage, behind the attention of block 4
        x = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
        for block in vit.blocks[:3]:
            x = block(x)
        x = x + vit.blocks[3].attn(vit.blocks[3].norm1(x))
        (maps,) = model.backbone.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)
    torch.testing.assert_close(maps[0].flatten(1).T[left], vit.norm(x)[0, 1 + left])


def test_what_is_trained() -> None:
    images = torch.randn(2, 3, SIDE, SIDE)
    frozen = segmenter("atc_average", 0.5, frozen=True).train()
    assert not any(module.training for module in frozen.backbone.modules())
    assert frozen.linear_head.training
    frozen(images).square().mean().backward()
    assert {name for name, one in frozen.named_parameters() if one.grad is not None} == {
        *(f"linear_head.{name}" for name in ("norm.weight", "norm.bias", "classifier.weight", "classifier.bias"))
    }
    model = segmenter("atc_average", 0.5).train()
    model(images).square().mean().backward()
    assert [name for name, one in model.named_parameters() if one.grad is None] == []


def of_transformers(family: str, **more: int) -> nn.Module:
    transformers = pytest.importorskip("transformers", reason="an extra: pip install 'atc-toolkit[hf]'")
    config = getattr(transformers, f"{family}Config")(
        hidden_size=24, num_hidden_layers=12, num_attention_heads=2, image_size=SIDE, patch_size=PATCH, **more
    )
    return getattr(transformers, f"{family}Model")(config)


FAMILIES = {
    "average pooling": lambda: small_vit(global_pool="avg"),
    "attention pooling": lambda: timm.create_model(
        "vit_base_patch16_siglip_224", img_size=SIDE, patch_size=PATCH, embed_dim=24, num_heads=2
    ),
    "torchvision": lambda: VisionTransformer(SIDE, PATCH, 12, 2, 24, 48),
    "transformers": lambda: of_transformers("ViT", intermediate_size=48),
    "DINOv2 of transformers": lambda: of_transformers("Dinov2"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_lies_behind_the_features_is_not_trained(family: str) -> None:
    """Else a strategy with several processes would wait for gradients that never come."""
    model = Segmenter(atc.wrap(FAMILIES[family](), "tome", keep_rate=0.5), CLASSES, SIDE).train()
    model(torch.randn(2, 3, SIDE, SIDE)).square().mean().backward()
    waiting = [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
    assert waiting == []
    assert not all(one.requires_grad for one in model.parameters())
    assert model.eval()(torch.randn(1, 3, 40, 33)).shape == (1, CLASSES, 40, 33)


def test_methods_with_losses_of_their_own_learn() -> None:
    model = segmenter("dynamic_vit", 0.5).train()
    model(torch.randn(2, 3, SIDE, SIDE)).square().mean().backward(retain_graph=True)
    losses = model.losses()
    assert set(losses) == {"ratio"}
    losses["ratio"].backward()
    assert all(one.grad is not None for one in model.reducers.parameters())


@torch.no_grad()
def test_half_precision() -> None:
    model, images = segmenter("atc_average", 0.5), torch.randn(2, 3, SIDE, 40)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(images)
    assert found.dtype == torch.float32
    expected = model(images).argmax(1)
    assert (found.argmax(1) == expected).float().mean() > 0.9
    whole = model.to(torch.bfloat16)(images.bfloat16())
    assert whole.dtype == torch.float32
    assert (whole.argmax(1) == expected).float().mean() > 0.9


MISTAKES = [
    (lambda: Segmenter(small_vit(), CLASSES, SIDE), "needs a wrapped ViT, as atc.wrap.* and got a VisionTransformer"),
    (lambda: segmenter(stride=33), "task.stride=33 leaves gaps between windows of task.window=32"),
    (
        lambda: Segmenter(atc.wrap(small_vit(), "none"), CLASSES, 40),
        "task.window=40: this VisionTransformer cannot see images of 40 x 40 pixels .* backbone.img_size=40 builds",
    ),
    (
        lambda: segmenter().train()(torch.randn(1, 3, SIDE, 40)),
        "images of 32 x 40 pixels to train on are larger than task.window=32: datamodule.transforms.crop=32",
    ),
]


@pytest.mark.parametrize(("call", "said"), MISTAKES)
def test_mistakes(call: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


@torch.no_grad()
def test_other_sizes_than_the_backbones_where_it_takes_them() -> None:
    vit = small_vit(dynamic_img_size=True)
    model = Segmenter(atc.wrap(vit, "atc_average", keep_rate=0.5), CLASSES, 48).eval()
    assert model(torch.randn(1, 3, 50, 60)).shape == (1, CLASSES, 50, 60)
    assert model.trace.tokens() == [18, 9, 4]

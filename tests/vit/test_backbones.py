"""Every timm family the README names, built without weights: dense to the bit, reduced, or refused with a reason."""

import pytest
import timm
import torch

import atc

# name, constructor arguments that keep it small
FAMILIES = {
    "deit_tiny_patch16_224": {},
    "deit_tiny_distilled_patch16_224": {"embed_dim": 96, "num_heads": 2},
    "deit3_small_patch16_224": {"embed_dim": 96, "num_heads": 2},  # LayerScale, no class position
    "vit_tiny_patch16_224": {"embed_dim": 96, "num_heads": 2},
    "vit_base_patch16_224": {"embed_dim": 96, "num_heads": 2, "global_pool": "avg"},  # MAE: mean pooling
    "vit_huge_patch14_224": {"embed_dim": 64, "num_heads": 2, "depth": 12, "img_size": 70},
    "vit_small_patch14_dinov2": {"img_size": 98, "embed_dim": 96, "num_heads": 2},
    "vit_small_patch14_reg4_dinov2": {"img_size": 98, "embed_dim": 96, "num_heads": 2},
    "vit_small_patch16_dinov3": {"img_size": 112, "embed_dim": 96, "num_heads": 2},  # Eva: rotary, registers
    "vit_small_patch16_dinov3_qkvb": {"img_size": 112, "embed_dim": 96, "num_heads": 2},
    "eva02_tiny_patch14_224": {"img_size": 112, "embed_dim": 96, "num_heads": 2},
    "vit_base_patch16_clip_224": {"embed_dim": 96, "num_heads": 2},  # norm_pre
    "vit_base_patch16_siglip_224": {"embed_dim": 96, "num_heads": 2, "img_size": 112},  # no CLS, attention pooling
    "vit_base_patch16_rpn_224": None,  # residual post-norm blocks
    "vit_small_patch16_18x2_224": None,  # parallel blocks
    "resnet18": None,
    "swin_tiny_patch4_window7_224": None,
}  # fmt: skip
GOOD = {name: args for name, args in FAMILIES.items() if args is not None}


def build(name: str, **overrides) -> torch.nn.Module:
    args = dict(FAMILIES[name] or {}, num_classes=10, **overrides)
    args.setdefault("depth", 12)
    vit = timm.create_model(name, pretrained=False, **args).eval()
    for parameter in vit.parameters():  # heads and tokens start at zero, which would hide mistakes
        torch.nn.init.normal_(parameter, mean=0.02, std=0.05) if parameter.abs().sum() == 0 else None
    return vit


def images_for(vit: torch.nn.Module, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, *vit.patch_embed.img_size)


@pytest.mark.parametrize("name", GOOD)
@torch.no_grad()
def test_without_reduction_equals_timm_to_the_bit(name):
    vit = build(name)
    images = images_for(vit)
    expected = vit(images)
    assert torch.equal(atc.wrap(vit, "none")(images), expected)
    # keep_rate 1 runs the same path with a real reducer that is never asked
    assert torch.equal(atc.wrap(vit, "atc_average", 1.0)(images), expected)


@pytest.mark.parametrize("name", GOOD)
def test_reduces_and_trains(name):
    vit = build(name)
    images = images_for(vit)
    n0 = vit.patch_embed.num_patches
    for reducer in ("atc_average", "dpc_knn"):
        model = atc.wrap(vit, reducer, 0.5).train()
        logits = model(images)
        assert model.trace.tokens() == [int(n0 * 0.5**s) for s in (1, 2, 3)]
        assert torch.equal(model.trace[-1].size.sum(1), torch.full((2,), float(n0)))
        logits.square().mean().backward()
        assert vit.patch_embed.proj.weight.grad.abs().sum() > 0
        vit.zero_grad()


@pytest.mark.parametrize("name", [n for n, a in FAMILIES.items() if a is None])
def test_others_are_refused_with_the_reason(name):
    with pytest.raises(ValueError, match=r"cannot wrap this backbone: .*(only|is not)") as error:
        atc.wrap(timm.create_model(name, pretrained=False, num_classes=10), "tome", 0.5)
    assert "\n" not in str(error.value)


def test_cls_methods_are_refused_without_a_cls_token():
    with pytest.raises(ValueError, match="TopK ranks patches by the attention of a CLS token"):
        atc.wrap(build("vit_base_patch16_siglip_224"), "topk", 0.5)


@torch.no_grad()
def test_distilled_models_keep_both_prefix_tokens_out_of_clustering():
    vit = build("deit_tiny_distilled_patch16_224")
    model = atc.wrap(vit, "atc_complete", 0.25)
    model(images_for(vit))
    assert model.prefix == 2
    assert [s.labels.shape[1] for s in model.trace] == [196, 49, 12]


@torch.no_grad()
@pytest.mark.parametrize("pool", ["avg", "avgmax", "map", "token"])
def test_pooling_counts_a_merged_token_as_its_patches(pool):
    """Merging equal tokens must change nothing: proportional attention and weighted pooling see to it."""
    vit = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2, num_classes=5, global_pool=pool,
        class_token=pool == "token", pos_embed="none",
    ).double().eval()  # fmt: skip
    quarter = torch.randn(1, 3, 8, 8).double()
    other = torch.randn(1, 3, 8, 8).double()
    row = torch.cat([quarter, quarter, other, quarter], dim=3)
    images = torch.cat([row, row, row, row], dim=2)  # 16 patches of two kinds
    dense = vit(images)
    model = atc.wrap(vit, "atc_average", schedule=atc.core.Stages(keep=[2], blocks=[1]))
    torch.testing.assert_close(model(images), dense)
    assert sorted(model.trace[0].size[0].tolist()) == [4.0, 12.0]


@torch.no_grad()
def test_dynamic_image_size():
    vit = build("deit_tiny_patch16_224", dynamic_img_size=True)
    model = atc.wrap(vit, "tome", 0.5)
    model(torch.randn(1, 3, 160, 192))
    assert model.trace[0].tokens_in == 120
    assert model.trace.tokens() == [60, 30, 15]


def test_rope_of_merged_tokens_is_the_circular_mean():
    from atc.core import Assign
    from atc.vit.blocks import merge_rope

    angles = torch.tensor([[0.1], [0.5], [2.0]]).double()
    rope = torch.cat([angles.sin(), angles.cos()], dim=1)
    merged = merge_rope(rope, Assign(torch.tensor([[0, 0, 1]]), 2), torch.ones(1, 3).double())
    torch.testing.assert_close(torch.atan2(merged[..., 0], merged[..., 1]), torch.tensor([[[0.3, 2.0]]]).double())


def test_gradient_checkpointing_gives_the_same_gradients():
    grads = []
    for enable in (False, True):
        torch.manual_seed(3)
        vit = build("vit_tiny_patch16_224", depth=4)
        vit.set_grad_checkpointing(enable)
        torch.manual_seed(4)
        atc.wrap(vit, "atc_average", 0.5, blocks=(2, 3)).train()(torch.randn(1, 3, 224, 224)).sum().backward()
        grads.append(vit.patch_embed.proj.weight.grad)
    torch.testing.assert_close(*grads)

"""Backbones of the papers' sweeps without training: names, preprocessing, pooling, torchvision's weights."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from hydra import compose, initialize_config_dir
from timm.data import resolve_model_data_config

from atc.config import build
from atc.vit.backbones import timm_vit

HALF, IMAGENET = (0.5, 0.5, 0.5), (0.485, 0.456, 0.406)
# side, patches, blocks, width, mean, pooling
EXPECTED: dict[str, tuple[int, int, int, int, tuple[float, ...], str]] = {
    "augreg_tiny": (224, 196, 12, 192, HALF, "token"),
    "augreg_small": (224, 196, 12, 384, HALF, "token"),
    "augreg_base": (224, 196, 12, 768, HALF, "token"),
    "augreg_large": (224, 196, 24, 1024, HALF, "token"),
    "augreg_large_384": (384, 576, 24, 1024, HALF, "token"),
    "swag_base": (384, 576, 12, 768, IMAGENET, "token"),
    "swag_large": (512, 1024, 24, 1024, IMAGENET, "token"),
    "swag_huge": (518, 1369, 32, 1280, IMAGENET, "token"),
    "mae_base": (224, 196, 12, 768, IMAGENET, "avg"),
    "mae_large": (224, 196, 24, 1024, IMAGENET, "avg"),
    "mae_huge": (224, 256, 32, 1280, IMAGENET, "avg"),
}


@functools.cache
def node(name: str) -> Any:
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        return compose("evaluate", [f"backbone={name}", "backbone.pretrained=false"]).backbone


@pytest.mark.parametrize("name", EXPECTED)
def test_architecture_and_preprocessing(name: str) -> None:
    with torch.device("meta"):
        vit = build.instantiate(node(name), num_classes=1000)
    side, patches, blocks, width, mean, pool = EXPECTED[name]
    data = resolve_model_data_config(vit)
    assert data["input_size"] == (3, side, side)
    assert tuple(data["mean"]) == mean
    assert (vit.patch_embed.num_patches, len(vit.blocks), vit.embed_dim, vit.global_pool) == (
        patches,
        blocks,
        width,
        pool,
    )


def test_augreg_weights_are_named_in_full() -> None:
    """Without its tag, the base model's name means newer weights."""
    for name in (name for name in EXPECTED if name.startswith("augreg")):
        assert node(name).name.endswith(".augreg_in21k_ft_in1k")
        assert node(name).get("url") is None


@pytest.mark.parametrize(("name", "weights"), [("base", "ViT_B_16"), ("large", "ViT_L_16"), ("huge", "ViT_H_14")])
def test_swag_weights_are_torchvisions(name: str, weights: str) -> None:
    known = getattr(torchvision.models, f"{weights}_Weights").IMAGENET1K_SWAG_E2E_V1
    assert node(f"swag_{name}").url == known.url
    assert node(f"swag_{name}").img_size == known.meta["min_size"][0]


@pytest.mark.parametrize("old_names", [False, True])
def test_torchvisions_weights_give_torchvisions_logits(tmp_path: Path, old_names: bool) -> None:
    theirs = torchvision.models.VisionTransformer(32, 8, 3, 2, 24, 96, num_classes=5).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    state = theirs.state_dict()
    if old_names:
        state = {k.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): v for k, v in state.items()}
    torch.save(state, tmp_path / "w.pth")
    small = {"img_size": 32, "patch_size": 8, "depth": 3, "num_heads": 2, "embed_dim": 24}
    ours = timm_vit("vit_base_patch16_384", checkpoint=str(tmp_path / "w.pth"), **small).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "data", "share"),
    [
        ("swag_base", "imagenet", 1.0),
        ("swag_huge", "imagenet", 1.0),
        ("swag_base", "folder", 0.875),
        ("augreg_large_384", "imagenet", 0.875),
        ("mae_base", "imagenet", 0.875),
    ],
)
def test_share_of_the_picture_that_is_cropped(name: str, data: str, share: float) -> None:
    """For SWAG, torchvision's own: resized to the size of the crop; for the others 256/224 of it."""
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        for command in ("train", "evaluate"):
            said = [f"backbone={name}", f"datamodule={data}"]
            assert compose(command, said).datamodule.transforms.crop_pct == share
            said.append("datamodule.transforms.crop_pct=0.95")
            assert compose(command, said).datamodule.transforms.crop_pct == 0.95
    if share == 1.0:
        weights = getattr(torchvision.models, f"ViT_{name[5].upper()}_1{6 if name[5] == 'b' else 4}_Weights")
        preset = weights.IMAGENET1K_SWAG_E2E_V1.transforms()
        assert preset.resize_size == preset.crop_size

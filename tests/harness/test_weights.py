"""Weight files in every form they come in, written here under their official key names."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from atc.vit import backbones
from atc.vit.backbones import digits, load_weights, read_weights, timm_vit

SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 3, "img_size": 32}
MAE = {**SMALL, "global_pool": "avg"}
DEIT, MAE_NAME, DISTILLED = "deit_tiny_patch16_224", "vit_base_patch16_224.mae", "deit_tiny_distilled_patch16_224"


def equal(a: nn.Module, b: nn.Module) -> bool:
    x = torch.randn(2, 3, 32, 32)
    return torch.equal(a.eval()(x), b.eval()(x))


@pytest.mark.parametrize("form", ["deit", "script", "timm", "safetensors", "lightning", "parallel"])
def test_deit(tmp_path: Path, form: str) -> None:
    """DeiT's own files keep the weights under "model"."""
    vit = timm_vit(DEIT, pretrained=False, **SMALL)
    state = vit.state_dict()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(state, path)
    else:
        wrapped = {
            "deit": {"model": state},
            "script": {"model": state, "args": argparse.Namespace(lr=1), "epoch": 3},
            "timm": state,
            "lightning": {"state_dict": {f"model.{k}": v for k, v in state.items()}, "epoch": 3},
            "parallel": {"model": {f"module.{k}": v for k, v in state.items()}, "epoch": 3},
        }
        torch.save(wrapped[form], path)
    assert equal(vit, timm_vit(DEIT, checkpoint=str(path), **SMALL))


def test_mae_fine_tuned(tmp_path: Path) -> None:
    """Average pooling: the last norm is called fc_norm, and there is no other."""
    vit = timm_vit(MAE_NAME, 1000, pretrained=False, **MAE)
    state = vit.state_dict()
    assert "fc_norm.weight" in state
    assert "norm.weight" not in state
    torch.save({"model": state}, tmp_path / "mae_finetuned_vit_base.pth")
    again = timm_vit(MAE_NAME, 1000, checkpoint=str(tmp_path / "mae_finetuned_vit_base.pth"), **MAE)
    assert equal(vit, again)


def test_huge_has_patches_of_14(monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra import compose, initialize_config_dir

    from atc.config import build

    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        node = compose("evaluate", ["backbone=mae_huge", "backbone.pretrained=false"]).backbone
    with torch.device("meta"):
        vit = build.instantiate(node, num_classes=1000)
    assert vit.patch_embed.num_patches == 256
    assert (len(vit.blocks), vit.embed_dim, vit.global_pool) == (32, 1280, "avg")


def test_distilled(tmp_path: Path) -> None:
    vit = timm_vit(DISTILLED, pretrained=False, **SMALL)
    torch.save({"model": vit.state_dict()}, tmp_path / "w.pth")
    assert equal(vit, timm_vit(DISTILLED, 1000, checkpoint=str(tmp_path / "w.pth"), **SMALL))
    other = timm_vit(DISTILLED, 7, checkpoint=str(tmp_path / "w.pth"), **SMALL)
    assert (other.head.out_features, other.head_dist.out_features) == (7, 7)


def test_other_classes_get_a_new_head(tmp_path: Path) -> None:
    """PyTorch's own initialisation, uniform within 1 / sqrt(width): neither zeros nor timm's truncated normal."""
    vit = timm_vit(DEIT, pretrained=False, **SMALL)
    torch.save({"model": vit.state_dict()}, tmp_path / "w.pth")
    new = timm_vit(DEIT, 555, checkpoint=str(tmp_path / "w.pth"), **SMALL)
    assert torch.equal(new.blocks[0].attn.qkv.weight, vit.blocks[0].attn.qkv.weight)
    weight, bound = new.head.weight, 48**-0.5
    assert weight.shape == (555, 48)
    assert 0.99 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_weights_for_other_classes_and_without_a_head(tmp_path: Path) -> None:
    fine_tuned = timm_vit(DEIT, 555, pretrained=False, **SMALL)
    torch.save(fine_tuned.state_dict(), tmp_path / "w.pth")
    assert equal(fine_tuned, timm_vit(DEIT, 555, checkpoint=str(tmp_path / "w.pth"), **SMALL))
    headless = {key: value for key, value in fine_tuned.state_dict().items() if not key.startswith("head")}
    torch.save(headless, tmp_path / "headless.pth")
    assert timm_vit(DEIT, 10, checkpoint=str(tmp_path / "headless.pth"), **SMALL).head.out_features == 10


def test_positions_are_resampled_to_another_image_size(tmp_path: Path) -> None:
    vit = timm_vit(DEIT, pretrained=False, **SMALL)
    torch.save(vit.state_dict(), tmp_path / "w.pth")
    larger = timm_vit(DEIT, checkpoint=str(tmp_path / "w.pth"), **{**SMALL, "img_size": 64})
    assert larger.pos_embed.shape == (1, 17, 48)
    assert torch.equal(larger.pos_embed[:, 0], vit.pos_embed[:, 0])


def test_jax_weights(tmp_path: Path) -> None:
    """The original .npz files of ViT, by their own names."""
    vit = timm_vit("vit_tiny_patch16_224", 5, pretrained=False, **SMALL)
    generator = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    weights = {
        "embedding/kernel": draw(16, 16, 3, 48),
        "embedding/bias": draw(48),
        "cls": draw(1, 1, 48),
        "Transformer/posembed_input/pos_embedding": draw(1, 5, 48),
        "Transformer/encoder_norm/scale": draw(48),
        "Transformer/encoder_norm/bias": draw(48),
        "head/kernel": draw(48, 5),
        "head/bias": draw(5),
    }
    for i in range(2):
        block = f"Transformer/encoderblock_{i}/"
        attention = block + "MultiHeadDotProductAttention_1/"
        weights |= {f"{attention}{n}/kernel": draw(48, 3, 16) for n in ("query", "key", "value")}
        weights |= {f"{attention}{n}/bias": draw(3, 16) for n in ("query", "key", "value")}
        weights |= {f"{attention}out/kernel": draw(3, 16, 48), f"{attention}out/bias": draw(48)}
        weights |= {f"{block}LayerNorm_{n}/{k}": draw(48) for n in (0, 2) for k in ("scale", "bias")}
        weights |= {f"{block}MlpBlock_3/Dense_0/kernel": draw(48, 192), f"{block}MlpBlock_3/Dense_0/bias": draw(192)}
        weights |= {f"{block}MlpBlock_3/Dense_1/kernel": draw(192, 48), f"{block}MlpBlock_3/Dense_1/bias": draw(48)}
    np.savez(tmp_path / "w.npz", **weights)
    load_weights(vit, tmp_path / "w.npz")
    torch.testing.assert_close(vit.head.weight, torch.from_numpy(weights["head/kernel"].T))
    torch.testing.assert_close(vit.cls_token, torch.from_numpy(weights["cls"]))


def test_the_shipped_weights() -> None:
    assert backbones.SHIPPED_DIGITS.stat().st_size < 2_000_000
    assert backbones.SHIPPED_DIGITS.with_suffix(".json").is_file()
    vit = digits()
    assert sum(p.numel() for p in vit.parameters()) == 345_418
    assert not torch.equal(vit.head.weight, digits(pretrained=False).head.weight)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    vit = timm_vit(DEIT, pretrained=False, **SMALL)
    (tmp_path / "text.pth").write_text("weights")
    (tmp_path / "text.safetensors").write_text("weights")
    torch.save(vit.state_dict(), tmp_path / "w.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"model": vit.state_dict(), "optimizer": Path("object")}, tmp_path / "pickled.pth")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name, message in {
        "text.pth": "not a readable weight file",
        "text.safetensors": "not a readable weight file",
        "list.pth": "holds no weights",
        "pickled.pth": "refused as it could run code",
        "other.npz": "not a JAX checkpoint of this backbone",
        "nothing.pth": "does not exist",
        ".": "is a directory",
    }.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            load_weights(vit, tmp_path / name)
    with pytest.raises(ValueError, match="does not fit this backbone: it has other shapes for cls_token"):
        timm_vit(DEIT, checkpoint=str(tmp_path / "w.pth"), **{**SMALL, "embed_dim": 96})
    with pytest.raises(ValueError, match=r"it lacks blocks\.2\.attn"):
        timm_vit(DEIT, checkpoint=str(tmp_path / "w.pth"), **{**SMALL, "depth": 3})


def test_reducer_parameters_stay_in_the_file_but_out_of_the_backbone(tmp_path: Path) -> None:
    vit = timm_vit(DEIT, pretrained=False, **SMALL)
    save_file({**vit.state_dict(), "reducers.4.weight.bias": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert "reducers.4.weight.bias" in read_weights(tmp_path / "w.safetensors")
    assert equal(vit, timm_vit(DEIT, checkpoint=str(tmp_path / "w.safetensors"), **SMALL))


def test_without_the_hub_one_line_says_what_to_do() -> None:
    with pytest.raises(ConnectionError, match=r"backbone\.checkpoint=PATH") as error:
        timm_vit("deit_tiny_patch16_224.fb_in1k", 1000)
    assert "\n" not in str(error.value)


def test_names_that_timm_does_not_have() -> None:
    with pytest.raises(ValueError, match="similar: vit_small_patch16_224"):
        timm_vit("vit_smal_patch16_224", pretrained=False)
    with pytest.raises(ValueError, match="colour"):
        timm_vit(DEIT, pretrained=False, colour="red")

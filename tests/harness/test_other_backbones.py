"""Backbones of other libraries, by configuration: trained, evaluated, and refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torchvision.models import VisionTransformer, ViT_B_16_Weights
from torchvision.models._api import register_model

import atc
from atc import run
from atc.cost.flops import gflops_by_formula, gflops_per_image
from atc.tasks.groups import parameter_groups
from atc.vit.other_backbones import open_clip_vit, torchvision_vit, transformers_vit
from tests.harness.commands import composed

TEXT = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}


@register_model()
def vit_test_4(*, weights: ViT_B_16_Weights | None = None, progress: bool = True, **args: Any) -> VisionTransformer:
    """A small VisionTransformer under a name."""
    small: dict[str, Any] = {"image_size": 28, "patch_size": 4, "num_layers": 4, "num_heads": 2, "hidden_dim": 16}
    return VisionTransformer(**(small | {"mlp_dim": 32, "num_classes": 7} | args))


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """A small ViT of transformers as save_pretrained leaves it, with what its preprocessor says."""
    transformers = pytest.importorskip("transformers")
    settings = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(image_size=28, patch_size=4, num_labels=7, **settings)
    place = tmp_path / "a model"
    transformers.ViTForImageClassification(config).save_pretrained(place)
    said = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7], "size": {"height": 28, "width": 28}}
    (place / "preprocessor_config.json").write_text(json.dumps(said | {"image_processor_type": "ViTImageProcessor"}))
    return place


@pytest.fixture
def tower(tmp_path: Path) -> str:
    """The name of a small model of open_clip."""
    open_clip = pytest.importorskip("open_clip")
    vision = {"image_size": 28, "patch_size": 4, "layers": 4, "width": 16, "head_width": 8}
    (tmp_path / "tiny-clip.json").write_text(json.dumps({"embed_dim": 12, "vision_cfg": vision, "text_cfg": TEXT}))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    return "tiny-clip"


@pytest.mark.parametrize("library", ["transformers", "torchvision", "open_clip"])
def test_trained_and_evaluated(library: str, tmp_path: Path, pretrained: Path, tower: str) -> None:
    name = {"transformers": f"'{pretrained}'", "torchvision": "vit_test_4", "open_clip": tower}[library]
    new = [] if library == "transformers" else ["backbone.pretrained=false"]
    settings = [f"backbone={library}", f"backbone.name={name}", "blocks=[2,3]", "reducer=dpc_knn"]
    trained = run.train(composed("train", tmp_path / "run", *settings, *new, "activation_checkpointing=" + (
        "false" if library == "torchvision" else "true")))  # fmt: skip
    assert trained.status == "finished"
    assert trained.tokens_per_block == [49, 24, 12, 12]
    assert trained.results["gflops"]["reduced"] < trained.results["gflops"]["dense"]
    weights = tmp_path / "run" / "weights.safetensors"
    assert any(key.startswith("reducers.") for key in load_file(weights))
    found = run.evaluate(composed("evaluate", tmp_path / "again", *settings, *new, f"checkpoint='{tmp_path / 'run'}'"))
    assert found.results["checkpoint"]["accuracy"] == trained.results["fine_tuned"]["accuracy"]


def test_of_transformers(pretrained: Path, tmp_path: Path) -> None:
    vit = transformers_vit(str(pretrained), num_classes=3)
    assert all(module.training for module in atc.wrap(vit, "tome", 0.5, blocks=(2,)).modules())
    assert (vit.num_classes, vit.pretrained_cfg["mean"], vit.pretrained_cfg["input_size"]) == (
        3, (0.1, 0.2, 0.3), (3, 28, 28))  # fmt: skip
    own = transformers_vit(str(pretrained))
    images = torch.randn(2, 3, 28, 28)
    assert torch.equal(own(images), own.model(images).logits)
    assert torch.equal(atc.wrap(own, "none")(images), own(images))
    torch.save(own.state_dict(), tmp_path / "file.pth")
    again = transformers_vit(str(pretrained), pretrained=False, checkpoint=str(tmp_path / "file.pth"))
    assert torch.equal(again(images), own(images))
    with pytest.raises(ValueError, match=r"file\.pth does not fit this backbone, whose classifier is classifier\.wei"):
        transformers_vit(str(pretrained), num_classes=3, checkpoint=str(tmp_path / "file.pth"))
    eager = transformers_vit(str(pretrained), attn_implementation="eager")
    assert not eager.host.blocks[0].attn.fused_attn
    with pytest.raises(ConnectionError, match=r"transformers finds no model nobody/nothing here") as error:
        transformers_vit("nobody/nothing")
    assert "\n" not in str(error.value)


def test_of_torchvision() -> None:
    vit = torchvision_vit("vit_test_4", num_classes=3, pretrained=False)
    assert vit.state_dict()["heads.head.weight"].shape == (3, 16)
    assert vit.pretrained_cfg["mean"] == (0.485, 0.456, 0.406)
    assert vit.pretrained_cfg["crop_pct"] == 224 / 256
    with pytest.raises(ValueError, match=r"torchvision has no model 'vit_b_17'; there are: vit_b_16, "):
        torchvision_vit("vit_b_17")
    with pytest.raises(ValueError, match=r"no weights 'BEST' for vit_b_16; there are: DEFAULT, IMAGENET1K_V1"):
        torchvision_vit("vit_b_16", weights="BEST")
    with pytest.raises(ValueError, match=r"torchvision cannot build vit_test_4 with \{'colour': 1\}"):
        torchvision_vit("vit_test_4", pretrained=False, colour=1)
    with pytest.raises(ValueError, match="VisionTransformer cannot compute activations again"):
        vit.set_grad_checkpointing()


def test_of_open_clip(tower: str) -> None:
    vit = open_clip_vit(tower, num_classes=3, pretrained=False)
    images = torch.randn(2, 3, 28, 28)
    assert torch.equal(vit(images), vit.classifier(vit.model(images)))
    torch.testing.assert_close(atc.wrap(vit, "none")(images), vit(images), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="open_clip has no model 'ViT-B-33'"):
        open_clip_vit("ViT-B-33", 3)
    with pytest.raises(ValueError, match=r"which weights of ViT-B-32\? backbone\.weights=TAG, or a file; .* openai"):
        open_clip_vit("ViT-B-32", 3)
    features = open_clip_vit(tower, pretrained=False)
    assert torch.equal(features(images), features.model(images))


@pytest.mark.parametrize("library", ["transformers", "torchvision", "open_clip"])
def test_the_formula_of_costs(library: str, pretrained: Path, tower: str) -> None:
    vit = {
        "transformers": lambda: transformers_vit(str(pretrained), 3),
        "torchvision": lambda: torchvision_vit("vit_test_4", 3, pretrained=False),
        "open_clip": lambda: open_clip_vit(tower, 3, pretrained=False),
    }[library]()
    images = torch.randn(1, 3, 28, 28)
    # The projection of open_clip's tower is one product that the formula leaves out.
    rest = 2 * 16 * 12 / 1e9 if library == "open_clip" else 0
    assert gflops_by_formula(vit) + rest == pytest.approx(gflops_per_image(vit, images), rel=1e-9)
    model = atc.wrap(vit, "random", 0.5, blocks=(2, 3))
    counted = gflops_per_image(model, images)
    assert gflops_by_formula(model) + rest == pytest.approx(counted, rel=1e-9)
    assert counted < gflops_per_image(vit, images)


@pytest.mark.parametrize("library", ["transformers", "torchvision", "open_clip"])
def test_learning_rates(library: str, pretrained: Path, tower: str) -> None:
    vit = {
        "transformers": lambda: transformers_vit(str(pretrained), 3),
        "torchvision": lambda: torchvision_vit("vit_test_4", 3, pretrained=False),
        "open_clip": lambda: open_clip_vit(tower, 3, pretrained=False),
    }[library]()
    model = atc.wrap(vit, "dpc_knn", 0.5, blocks=(2, 3))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, 1e-3, 0.05, layer_decay=0.5)
    scales = {names[id(p)]: group["lr_scale"] for group in groups[:-2] for p in group["params"]}
    head = vit.new[0]
    assert scales[f"{head}weight"] == 1
    places = [name for name in scales if "posi" in name or "pos_" in name]
    assert [scales[name] for name in places] == [0.5**5]
    blocks = sorted({value for name, value in scales.items() if any(str(i) in name for i in range(4))})
    assert set(blocks) >= {0.5, 0.25, 0.125, 0.0625}
    spared = {names[id(p)] for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert set(places) < spared
    new = parameter_groups(model, 1e-3, 0.05, backbone_lr_scale=0.1)
    fast = {names[id(p)] for group in new if group["lr"] == 1e-3 for p in group["params"]}
    assert {f"{head}weight", f"{head}bias", *places} < fast
    assert any(name.startswith("reducers.") for name in fast)

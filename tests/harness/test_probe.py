"""evaluate.py task=probe, against scikit-learn on features taken by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

import atc
from atc import run
from atc.vit.backbones import digits, timm_vit
from atc.vit.other_backbones import open_clip_vit, torchvision_vit, transformers_vit
from datamodules.digits import Digits
from tests import towers
from tests.harness import test_other_backbones
from tests.harness.commands import command, composed

WHOLE = [
    *("trainer.limit_test_batches=1.0", "trainer.limit_train_batches=1.0"),
    *("datamodule.batch_size=90", "datamodule.eval_batch_size=90"),
]
SMALL = {"image_size": 28, "patch_size": 4, **towers.TOWER}


def _parts(mean: float = 0.5, std: float = 0.5) -> tuple[Any, Any]:
    """The training images and the test images with their digits."""
    data = Digits(32, 2000, None, 0, 0)
    data.adapt({"input_size": (3, 28, 28), "mean": (mean,) * 3, "std": (std,) * 3})
    return next(iter(data.unaugmented_train_dataloader())), next(iter(data.test_dataloader()))


def _votes(train: torch.Tensor, labels: torch.Tensor, test: torch.Tensor, k: int, temperature: float) -> torch.Tensor:
    """Weighted votes as in DINO's eval_knn.py: [images, classes]."""
    similarity, nearest = (F.normalize(test, dim=1) @ F.normalize(train, dim=1).T).topk(k, dim=1)
    votes = torch.zeros(len(test), 10)
    return votes.scatter_add(1, labels[nearest], (similarity / temperature).exp())


def dino(place: Path, layers: int = 4) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    transformers.Dinov2Model(transformers.Dinov2Config(**{**SMALL, "num_hidden_layers": layers})).save_pretrained(place)
    said = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 28, "width": 28}}
    (place / "preprocessor_config.json").write_text(json.dumps(said | {"image_processor_type": "BitImageProcessor"}))


@pytest.mark.parametrize("probe", ["knn", "linear"])
@torch.no_grad()
def test_of_dinov2(probe: str, tmp_path: Path) -> None:
    place = tmp_path / "dino"
    dino(place)
    backbone = ["backbone=transformers", f"backbone.name='{place}'", "reducer=atc_average", "blocks=[2,3]"]
    settings = [*backbone, "task=probe", f"task.probe={probe}", "baselines=true", *WHOLE]
    record = run.evaluate(composed("evaluate", tmp_path / "run", *settings))
    from transformers import Dinov2Model

    model = Dinov2Model.from_pretrained(place).eval()
    (images, labels), (shown, targets) = _parts()
    for name, kept in (("dense", None), ("off_the_shelf", 0.5)):
        model = model if kept is None else atc.wrap(model, "atc_average", kept, blocks=(2, 3))
        train, test = (model(pixel_values=each).last_hidden_state[:, 0] for each in (images, shown))
        if probe == "knn":
            expected = _votes(train, labels, test, 20, 0.07).argmax(dim=1)
        else:
            fitted = LogisticRegression(C=0.316, max_iter=1000).fit(train.numpy(), labels.numpy())
            expected = torch.from_numpy(fitted.predict(test.numpy()))
        found = record.results[name]
        # Features are computed in batches of another size: an image on the edge may fall either way.
        assert found["accuracy"] == pytest.approx(float((expected == targets).float().mean()), abs=2.5 / 450)
        assert found["training_images"] == 1077
        assert found["images"] == 450
        assert found["accuracy"] > 0.15
        assert np.isfinite(found["loss"])
    assert record.tokens_per_block == [49, 49, 24, 12]
    assert record.metric.name == "accuracy"
    assert record.task == "probe"


@torch.no_grad()
def test_settings_of_knn(tmp_path: Path) -> None:
    some = ["trainer.limit_train_batches=4", "trainer.limit_test_batches=2"]
    settings = ["task=probe", "reducer=none", "task.k=3", "task.temperature=0.5", *WHOLE, *some]
    record = run.evaluate(composed("evaluate", tmp_path / "run", *settings))
    (images, labels), (shown, targets) = _parts()
    spread = torch.arange(360) * len(images) // 360
    images, labels, shown, targets = images[spread], labels[spread], shown[:180], targets[:180]
    vit = digits().eval()
    train, test = (vit.forward_head(vit.forward_features(each), pre_logits=True) for each in (images, shown))
    votes = _votes(train, labels, test, 3, 0.5)
    accuracy = float((votes.argmax(dim=1) == targets).float().mean())
    assert record.results["dense"]["accuracy"] == pytest.approx(accuracy, abs=1.5 / 180)
    likely = (votes / votes.sum(dim=1, keepdim=True)).clamp_min(1e-12)
    assert record.results["dense"]["loss"] == pytest.approx(float(F.nll_loss(likely.log(), targets)), rel=1e-2)
    assert accuracy > 0.9


def test_some_of_the_training_images(tmp_path: Path) -> None:
    settings = ["task=probe", "reducer=none", "trainer.limit_train_batches=3", "trainer.limit_test_batches=1"]
    record = run.evaluate(composed("evaluate", tmp_path / "run", *settings))
    assert record.results["dense"]["training_images"] == 3 * 8  # of batches of 8
    assert record.results["dense"]["images"] == 16
    assert any("limit_train_batches=3" in notice for notice in record.notices)
    with pytest.raises(ValueError, match=r"task\.k=20 is more than the 8 training images"):
        run.evaluate(composed("evaluate", tmp_path / "few", *settings, "trainer.limit_train_batches=1"))


@pytest.mark.parametrize(("name", "least"), [("digits", 0.8), pytest.param("dino", 0.2, marks=pytest.mark.slow)])
def test_of_a_trained_checkpoint(name: str, least: float, tmp_path: Path) -> None:
    """The features of a fine-tuned model, without its classifier."""
    settings = ["reducer=dpc_knn", "blocks=[2,3]"]
    if name == "dino":
        dino(tmp_path / "dino")
        settings += ["backbone=transformers", f"backbone.name='{tmp_path / 'dino'}'"]
    run.train(composed("train", tmp_path / "run", *settings, "baselines=false"))
    cfg = composed("evaluate", tmp_path / "probe", *settings, f"checkpoint='{tmp_path / 'run'}'", "task=probe", *WHOLE)
    found = run.evaluate(cfg).results["checkpoint"]
    assert found["training_images"] == 1077
    assert found["accuracy"] > least


@pytest.mark.slow
def test_in_two_processes(tmp_path: Path) -> None:
    """Each process reads a share of the training images, and both fit to all of them."""
    settings = ["task=probe", "task.probe=linear", "reducer=none", "trainer.accelerator=cpu", "benchmark.seconds=0.05"]
    for name, devices in (("one", []), ("two", ["trainer.devices=2", "trainer.strategy=ddp"])):
        done = command("evaluate.py", *settings, *devices, f"hydra.run.dir={name}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    one, two = (
        json.loads((tmp_path / name / "results.json").read_text())["results"]["dense"] for name in ("one", "two")
    )
    assert two["training_images"] == one["training_images"] == 1077
    assert two["images"] == one["images"] == 450
    assert two["accuracy"] == pytest.approx(one["accuracy"], abs=1.5 / 450)


@pytest.mark.parametrize(
    "family", ["timm", "torchvision", "open_clip", "clip", "siglip", "vit", "dinov2 classifier", "dinov3", "mae"]
)
@torch.no_grad()
def test_features(family: str, tmp_path: Path) -> None:
    """With no classes a backbone returns what enters its classifier; the wrapped one the same."""
    transformers = pytest.importorskip("transformers")
    place, images = tmp_path / "model", torch.rand(2, 3, 28, 28)
    if family == "timm":
        size = {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
        vit = timm_vit("vit_tiny_patch16_224", 0, pretrained=False, img_size=28, **size)
        vit.eval()
        expected = vit.forward_head(vit.forward_features(images), pre_logits=True)
    elif family == "torchvision":
        vit = torchvision_vit(test_other_backbones.vit_test_4.__name__, 0, pretrained=False).eval()
        expected = vit.model(images)
        assert expected.shape == (2, 16)
    elif family == "open_clip":
        whole = towers.open_clip_model(place)
        vit = open_clip_vit(f"local-dir:{place}", 0).eval()
        expected = whole.encode_image(images)
    elif family in ("clip", "siglip"):
        whole = towers.transformers_model(place, family)
        vit = transformers_vit(str(place), 0).eval()
        expected = whole.vision_model(images).pooler_output
    elif family in ("dinov3", "mae"):
        if family == "dinov3":
            model = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**SMALL, num_register_tokens=2)).eval()
            expected = model(images).pooler_output
            assert torch.equal(expected, model(images).last_hidden_state[:, 0])
        else:
            config = transformers.ViTMAEConfig(**SMALL, mask_ratio=0.0)
            model = transformers.ViTMAEModel(config).eval()
            expected = model(images, noise=torch.arange(49.0).expand(2, -1)).last_hidden_state[:, 0]
        model.save_pretrained(place)
        vit = transformers_vit(str(place), 0).eval()
    else:
        config = (
            transformers.ViTConfig(**SMALL) if family == "vit" else transformers.Dinov2Config(**SMALL, num_labels=5)
        )
        if family == "vit":
            model = transformers.ViTModel(config, add_pooling_layer=False).eval()
            expected = model(images).last_hidden_state[:, 0]
        else:
            model = transformers.Dinov2ForImageClassification(config).eval()
            tokens = model.dinov2(images).last_hidden_state
            expected = torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)
        model.save_pretrained(place)
        vit = transformers_vit(str(place), 0).eval()
    assert vit.num_classes == 0
    torch.testing.assert_close(vit(images), expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(atc.wrap(vit, "none")(images), expected, atol=1e-5, rtol=1e-5)
    assert atc.wrap(vit, "tome", 0.5, blocks=(2,))(images).shape == expected.shape


def test_features_of_weights_that_are_missing(tmp_path: Path) -> None:
    """A model whose weights are there in part would return features of random ones."""
    dino(tmp_path / "dino")
    file = tmp_path / "dino" / "model.safetensors"
    save_file({key: value for key, value in load_file(file).items() if "layer.1" not in key}, file, {"format": "pt"})
    with pytest.raises(ValueError, match=r"dino lacks weights of a Dinov2Model, such as .*layer\.1\."):
        transformers_vit(str(tmp_path / "dino"), 0)

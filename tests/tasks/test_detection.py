"""Detectors from the settings of a configuration, trained and evaluated in small."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from safetensors import torch as safetensors
from torch import nn

from atc import run
from atc.config.build import find_reducer
from atc.core import Stages
from atc.core.schedule import Constant
from atc.dense import mask_rcnn
from atc.dense.build_detector import build_detector
from atc.dense.detector import Detector
from atc.dense.transform import MEAN, STD
from datamodules.shapes_detection import ShapesDetection
from tests.harness.commands import composed

pytest.importorskip("pycocotools", reason="an extra: pip install 'atc-toolkit[detection]'")
SIZES: dict[str, Any] = {
    **{"conv_inplane": 8, "deform_heads": 2, "fpn_channels": 16, "head_channels": 16, "mask_channels": 8},
    **{"mask_layers": 1, "anchor_sizes": (8, 16, 32, 64, 128), "samples": 16, "proposals": 20},
}
SMALL = [
    *("experiment=shapes_detection", "datamodule.size=64", "backbone.img_size=64", "backbone.embed_dim=24"),
    *("backbone.num_heads=2", "datamodule.batch_size=2", "datamodule.eval_batch_size=2", "datamodule.test=4"),
    *(f"task.detector.{name}={value}" for name, value in SIZES.items() if name != "anchor_sizes"),
    *("datamodule.num_workers=0", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "threads=1"),
]


def small_vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", embed_dim=24, num_heads=2, img_size=64, num_classes=0)


def detectors(reducer: str = "atc_average", keep_rate: float = 0.5) -> tuple[Detector, Detector]:
    made = build_detector(small_vit(), 10, find_reducer(reducer), Stages(keep_rate, (4, 7, 10)), **SIZES)
    for module in made[0].modules():  # nothing at its first values, which say nothing
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    nn.init.normal_(made[0].roi_heads.box_predictor.cls_score.weight, std=0.5)
    return made


@torch.no_grad()
def test_it_finds_what_the_detector_called_on_images_finds() -> None:
    """Which normalises and pads them itself."""
    model, _ = detectors()
    rcnn = mask_rcnn(model.adapter, 10, min_size=None, **{k: v for k, v in SIZES.items() if k not in ADAPTER}).eval()
    rcnn.load_state_dict(model.state_dict())
    images = [torch.rand(3, 64, 90), torch.rand(3, 50, 96)]
    mean, std = (torch.tensor(one)[:, None, None] for one in (MEAN, STD))
    batch = torch.zeros(2, 3, 64, 96)
    for row, image in zip(batch, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = (image - mean) / std
    model.eval()
    targets = [{"size": torch.tensor(image.shape[1:])} for image in images]
    for ours, theirs in zip(model(batch, targets), rcnn(images), strict=True):
        assert len(ours["boxes"]) > 3
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-4)
    assert model.finite is not None
    assert model.finite.tolist() == [True, True]
    assert model.tokens_per_block()[0] == 24
    twice = [{"size": torch.tensor((64, 90)), "orig_size": torch.tensor((128, 270))}, targets[1]]
    larger = model(batch, twice)[0]
    torch.testing.assert_close(larger["boxes"], model(batch, targets)[0]["boxes"] * torch.tensor([3.0, 2, 3, 2]))
    assert larger["masks"].shape[-2:] == (128, 270)


ADAPTER = ("conv_inplane", "deform_heads")


@torch.no_grad()
def test_the_detector_without_reduction_shares_every_parameter() -> None:
    reduced, dense = detectors()
    assert {id(one) for one in dense.parameters()} == {id(one) for one in reduced.parameters()}
    assert list(dense.state_dict()) == list(reduced.state_dict())
    alone, _ = detectors("none")
    alone.load_state_dict(reduced.state_dict())
    images = torch.rand(1, 3, 64, 64)
    expected, found = (model.eval()(images)[0] for model in (alone, dense))
    assert torch.equal(expected["boxes"], found["boxes"])
    maps = [model.backbone(images)["0"] for model in (reduced, dense)]
    assert not torch.allclose(*maps), "one of them reduces"


def test_losses_reach_every_parameter() -> None:
    model, _ = detectors()
    model.train()
    images, targets = next(iter(ShapesDetection(2, 2, 0, 0, size=64).train_dataloader()))
    for injector in (interaction.injector for interaction in model.adapter.interactions):
        nn.init.ones_(injector.gamma)
    losses = model(images, targets)
    names = ["loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"]
    assert list(losses) == names
    sum(losses.values()).backward()
    without = [name for name, one in model.named_parameters() if one.grad is None]
    assert without == [] or all("pos_embed" in name for name in without)


def test_other_schedules_are_refused() -> None:
    with pytest.raises(ValueError, match="task=detection reduces in stages: schedule=stages"):
        build_detector(small_vit(), 10, find_reducer("tome"), Constant(1), **SIZES)


def test_a_training_its_record_and_an_evaluation_of_it(tmp_path: Path) -> None:
    cfg = composed("train", tmp_path / "train", *SMALL, "reducer=atc_average", "baselines=off_the_shelf")
    record = run.train(cfg)
    assert record.status == "finished"
    assert record.scored_by.label == "map_box, points"
    result = record.result("fine_tuned")
    assert result is not None
    assert result["images"] == 2
    assert result["images_of"] == 4
    assert 0 <= (result["map_box"] or 0) <= 1
    assert record.tokens_per_block == [16, 16, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2]
    written = json.loads((tmp_path / "train" / "coco_fine_tuned.json").read_text())
    assert written["numbers"]["map_box"] == pytest.approx(result["map_box"], abs=1e-6)
    assert len(written["per_class"]["mask"]) == 10
    detections = json.loads((tmp_path / "train" / "detections_fine_tuned.json").read_text())
    assert all({"image_id", "category_id", "bbox", "score", "segmentation"} == row.keys() for row in detections)

    kinds = json.loads((tmp_path / "train" / "categories.json").read_text())
    assert [one["id"] for one in kinds] == list(range(1, 11))
    with Image.open(tmp_path / "train" / "pictures" / "fine_tuned.png") as picture:
        assert picture.size == (5 * 520 - 8, 2 * (512 + 24 + 8)), "as many images as were tested, of five panels"
    assert (tmp_path / "train" / "pictures" / "val.png").is_file()

    weights = tmp_path / "train" / "weights.safetensors"
    small = [one for one in SMALL if not one.startswith(("experiment", "trainer.limit_train"))]
    given = ["datamodule=shapes_detection", "backbone=timm", *EVALUATED, *small, "reducer=atc_average"]
    again = run.evaluate(composed("evaluate", tmp_path / "again", *given, f"checkpoint='{weights}'"))
    assert (again.result("checkpoint") or {})["map_box"] == pytest.approx(result["map_box"])


def test_a_training_starts_from_a_detector_at_a_rate_that_the_record_has(tmp_path: Path) -> None:
    file = tmp_path / "detector.safetensors"
    model, _ = detectors("none")
    safetensors.save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)
    given = ["reducer=none", "optimizer=detection", "~optimizer.warmup_epochs", f"task.checkpoint='{file}'"]
    record = run.train(composed("train", tmp_path / "run", *SMALL, *given, "optimizer.lr=0"))
    assert any(notice.startswith("optimizer.lr=0 is for 16 images an update") for notice in record.notices or ())
    trained = safetensors.load_file(tmp_path / "run" / "weights.safetensors")
    name = "roi_heads.box_predictor.cls_score.weight"
    assert torch.equal(trained[name], model.state_dict()[name])


def test_gates_are_trained_with_a_detector(tmp_path: Path) -> None:
    given = ["task.detector.anchor_sizes=[8,16,32,64,128]", "reducer=svit", "keep_rate=0.7", "logger=csv"]
    given += ["trainer.limit_val_batches=1", "trainer.limit_test_batches=1", "trainer.log_every_n_steps=1"]
    record = run.train(composed("train", tmp_path / "run", *SMALL, *given))
    (file,) = (tmp_path / "run").rglob("metrics.csv")
    rows = [row for row in csv.DictReader(file.open()) if row["train/ratio"]]
    parts = ["loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"]
    assert rows
    for row in rows:
        total = sum(float(row[f"train/{part}"]) for part in parts) + 4 * float(row["train/ratio"])
        assert float(row["train/loss"]) == pytest.approx(total, rel=1e-5)
    assert list(record.tokens_per_block[:3]) == [16, 16, 16]
    assert all(0 <= tokens <= 16 for tokens in record.tokens_per_block)


EVALUATED = [
    *("backbone.name=vit_tiny_patch16_224", "+backbone.embed_dim=24", "+backbone.num_heads=2"),
    *(f"task.detector.{name}={value}" for name, value in SIZES.items() if name != "anchor_sizes"),
    "task.detector.anchor_sizes=[16,32,64,96,128]",
]

"""Detectors as mmdet's trainings leave them, from a file to an evaluation, a training and a prediction."""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import torch as safetensors

from atc import run
from atc.config.build import find_reducer
from atc.core import Stages
from atc.dense.build_detector import build_detector
from atc.dense.detector import Detector
from datamodules.scenes import draw
from tests.datamodules.on_disk import write_coco
from tests.dense.test_mask_rcnn import released_names
from tests.harness.commands import composed
from tests.harness.test_predict import settings
from tests.tasks.test_detection import SIZES, small_vit

pytest.importorskip("pycocotools", reason="an extra: pip install 'atc-toolkit[detection]'")
# DeiT-T's config asks for 224 pixels a side; a narrow ViT stands in for it.
MODEL = [
    *("backbone=timm", "backbone.name=vit_tiny_patch16_224", "+backbone.embed_dim=24", "+backbone.num_heads=2"),
    *("backbone.pretrained=false", "+backbone.img_size=64", "task.detector.anchor_sizes=[8,16,32,64,128]"),
    *(f"task.detector.{name}={value}" for name, value in SIZES.items() if name != "anchor_sizes"),
    *("datamodule.transforms.eval_short_side=64", "datamodule.transforms.eval_long_side=64", "threads=1"),
]
DATA = [
    *("datamodule=coco_detection", "datamodule.transforms.short_sides=[64]", "datamodule.transforms.first_sides=[64]"),
    *("datamodule.transforms.crop=[32,64]", "datamodule.transforms.long_side=64", "datamodule.transforms.max_crop=64"),
    *("datamodule.num_workers=0", "trainer.limit_test_batches=1.0", "datamodule.eval_batch_size=1"),
]


def trained(num_classes: int = 10) -> Detector:
    """A detector with weights of no meaning, none of them at its first value."""
    torch.manual_seed(1)
    made, _ = build_detector(small_vit(), num_classes, find_reducer("none"), Stages(1.0), **SIZES)
    for name, value in made.state_dict().items():
        if value.is_floating_point() and "running_var" not in name:
            value.add_(0.02 * torch.randn_like(value))
    predictor, logits = made.roi_heads.box_predictor, made.roi_heads.mask_predictor.mask_fcn_logits
    with torch.no_grad():  # what mmdet does not have
        for one in (predictor.bbox_pred.weight[:4], predictor.bbox_pred.bias[:4], logits.weight[:1], logits.bias[:1]):
            one.zero_()
        predictor.cls_score.weight.normal_(std=0.5)
    return made


def write_mmdet(file: Path, made: Detector, **more: Any) -> None:
    """A file as mmdet 2's runner writes it, of a ViT-Adapter with the ViT's unused tensors."""
    width = made.adapter.level_embed.shape[1]
    own = OrderedDict(released_names(made))
    own["backbone.cls_token"] = torch.randn(1, 1, width)
    own["backbone.norm.weight"], own["backbone.norm.bias"] = torch.randn(width), torch.randn(width)
    own["backbone.head.weight"], own["backbone.head.bias"] = torch.randn(1000, width), torch.randn(1000)
    own._metadata = OrderedDict({"": {"version": 1}, "backbone": {"version": 1}})  # type: ignore[attr-defined]
    meta = {
        "env_info": "sys.platform: linux\nPython: 3.8.13\nMMCV: 1.4.2\nMMDetection: 2.22.0+",
        "config": "model = dict(\n    type='MaskRCNN',\n    backbone=dict(type='ViTAdapter', patch_size=16))\n",
        "seed": 981431423,
        "exp_name": "mask_rcnn_deit_adapter_tiny_fpn_3x_coco.py",
        "epoch": 36,
        "iter": 263844,
        "mmcv_version": "1.4.2",
        "time": "Thu Sep 12 09:30:24 2024",
        "hook_msgs": {"best_score": 0.458, "best_ckpt": "epoch_36.pth"},
        "CLASSES": tuple(f"kind {n}" for n in range(10)),
        "PALETTE": [(220, 20, 60)] * 10,
    }
    first = own["backbone.level_embed"]
    adamw = {
        "state": {0: {"step": 263844, "exp_avg": torch.zeros_like(first), "exp_avg_sq": torch.zeros_like(first)}},
        "param_groups": [{"lr": 1e-6, "betas": (0.9, 0.999), "weight_decay": 0.05, "params": [0], "initial_lr": 1e-4}],
    }
    torch.save({"meta": meta, "state_dict": own, "optimizer": adamw, **more}, file, **_format(file))


def _format(file: Path) -> dict[str, Any]:
    """Before PyTorch 1.6 files were no archives."""
    return {"_use_new_zipfile_serialization": not file.stem.endswith("old")}


@pytest.mark.parametrize("name", ["epoch_36.pth", pytest.param("epoch_36_old.pth", marks=pytest.mark.slow)])
def test_it_is_evaluated_with_reduced_tokens(tmp_path: Path, name: str) -> None:
    write_coco(tmp_path / "coco", 2017, train=2, val=3, empty=1)
    made = trained()
    write_mmdet(tmp_path / name, made)
    given = [*DATA, *MODEL, f"datamodule.root='{tmp_path / 'coco'}'", f"checkpoint='{tmp_path / name}'"]
    record = run.evaluate(composed("evaluate", tmp_path / "run", *given, "reducer=atc_average", "keep_rate=0.7"))
    result = record.result("checkpoint") or {}
    assert result["images"] == 4
    assert 0 <= (result["map_box"] or 0) <= 1
    assert any(f"{name}: weights of a detector of mmdet" in one for one in record.notices or ())
    assert record.tokens_per_block == [16, 16, 16, 16, 11, 11, 11, 7, 7, 7, 4, 4]
    rows = json.loads((tmp_path / "run" / "detections_checkpoint.json").read_text())
    assert rows
    assert {row["category_id"] for row in rows} <= {3 + 7 * n for n in range(10)}, "ids of the data set, with gaps"
    # the same weights, from a file of ours
    state = {key: value.contiguous() for key, value in made.state_dict().items()}
    safetensors.save_file(state, tmp_path / "ours.safetensors")
    given[-1] = f"checkpoint='{tmp_path / 'ours.safetensors'}'"
    same = run.evaluate(composed("evaluate", tmp_path / "same", *given, "reducer=atc_average", "keep_rate=0.7"))
    assert json.loads((tmp_path / "same" / "detections_checkpoint.json").read_text()) == rows
    assert same.result("checkpoint") == result


def test_a_training_starts_from_it(tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", 2017, train=2, val=1, empty=0)
    made = trained()
    write_mmdet(tmp_path / "epoch_36.pth", made)
    given = [
        *("experiment=coco_detection_finetune", "trainer.precision=32-true", "trainer.sync_batchnorm=false"),
        *(*DATA, *MODEL, f"datamodule.root='{tmp_path / 'coco'}'", f"task.checkpoint='{tmp_path / 'epoch_36.pth'}'"),
        *("optimizer.lr=0", "trainer.max_epochs=1", "optimizer.milestones=[]", "datamodule.batch_size=2"),
    ]
    record = run.train(composed("train", tmp_path / "run", *given, "reducer=tome", "keep_rate=0.7"))
    assert any("weights of a detector of mmdet" in one for one in record.notices or ())
    assert not any("pretrained" in one for one in record.notices or ())
    left = safetensors.load_file(tmp_path / "run" / "weights.safetensors")
    for key, value in made.state_dict().items():
        if "running_" not in key and "num_batches" not in key:
            assert torch.equal(left[key], value), key


def test_a_prediction_has_cocos_names(tmp_path: Path) -> None:
    write_mmdet(tmp_path / "epoch_36.pth", trained(80))
    Image.fromarray(draw(1, 80).image).save(tmp_path / "a.png")
    given = [f"images='{tmp_path / 'a.png'}'", f"checkpoint='{tmp_path / 'epoch_36.pth'}'", *MODEL]
    run.predict(settings(tmp_path / "found", *given))
    known = json.loads((tmp_path / "found" / "images.json").read_text())["categories"]
    assert (len(known), known[0], known[-1]) == (80, {"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"})


class Hub:
    """As a class of mmengine's: not known where the file is read."""


def test_more_than_tensors_and_other_sizes_are_one_line(tmp_path: Path) -> None:
    write_mmdet(tmp_path / "hub.pth", trained(), message_hub=Hub())
    write_mmdet(tmp_path / "tiny.pth", trained())
    given = [*DATA, *MODEL, f"datamodule.root='{tmp_path / 'coco'}'", "reducer=none"]
    write_coco(tmp_path / "coco", 2017, train=1, val=1, empty=0)
    with pytest.raises(ValueError, match=r"hub.pth .* it holds tests.harness.test_mmdet.Hub; who trusts") as caught:
        run.evaluate(composed("evaluate", tmp_path / "run", *given, f"checkpoint='{tmp_path / 'hub.pth'}'"))
    assert "\n" not in str(caught.value)
    wider = [one.replace("embed_dim=24", "embed_dim=32") for one in given]
    said = (
        r"tiny.pth does not fit the model: .* must be \[.*32.*\] .* has \[.*24.*\]; backbone and task.detector have to"
    )
    with pytest.raises(ValueError, match=said) as caught:
        run.evaluate(composed("evaluate", tmp_path / "run", *wider, f"checkpoint='{tmp_path / 'tiny.pth'}'"))
    assert "\n" not in str(caught.value)

"""Semantic segmentation: its recipe, and runs of it in small."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger
from omegaconf import OmegaConf
from safetensors import torch as safetensors
from torch import nn

from atc import run
from atc.config import build
from atc.config.build import find_reducer
from atc.core import Stages
from atc.dense.segmenter import Segmenter
from atc.pictures.gallery import Gallery
from atc.run.loading import load
from atc.tasks.groups import parameter_groups
from atc.tasks.segmentation import Segmentation
from tests.datamodules.on_disk import write_ade20k, write_voc_segmentation
from tests.dense.test_segmenter import segmenter, small_vit
from tests.harness.commands import TINY, command, composed

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SMALL = [
    *("experiment=shapes_segmentation", "backbone.img_size=32", "backbone.embed_dim=24", "backbone.num_heads=2"),
    *("datamodule.train=16", "datamodule.val=8", "datamodule.test=8", "datamodule.eval_batch_size=4"),
    *("optimizer.warmup_epochs=0", "trainer.limit_test_batches=1.0"),
]
COUNTS = [32 * 32 // 64] * 4


@pytest.mark.parametrize("name", ["ade20k", "voc"])
def test_the_recipe(name: str, tmp_path: Path) -> None:
    """1e-3 for the head, 1e-5 for the backbone, up within 1,500 updates, down to 0 at 40,000."""
    cfg = composed("train", tmp_path, f"experiment={name}_segmentation", "task.frozen=false")
    model = segmenter()
    per_epoch = {"ade20k": 20_210, "voc": 1_464}[name] // 16
    made = instantiate(cfg.optimizer)(model, 40_000, -(-40_000 // per_epoch), 16)
    names = {id(one): key for key, one in model.named_parameters()}
    for group in made["optimizer"].param_groups:
        own = {names[id(one)] for one in group["params"]}
        assert {key.startswith("linear_head.") for key in own} == {not group["backbone"]}
        assert group["weight_decay"] == (1e-4 if group["weight_decay"] else 0)
        assert group["weight_decay"] or all(
            model.get_parameter(k).ndim == 1 or "embed" in k or "token" in k for k in own
        )
    for update, share in ((0, 0), (750, 0.5), (20_000, 0.5), (30_000, 0.25), (39_999, 0)):
        made["lr_scheduler"]["scheduler"].step_update(update)
        for group in made["optimizer"].param_groups:
            rate = 1e-5 if group["backbone"] else 1e-3
            assert group["lr"] == pytest.approx(rate * share, abs=0.02 * rate)
    said = OmegaConf.load(build.conf_dir() / "experiment" / f"{name}_segmentation.yaml")
    assert said.datamodule.batch_size == 16
    assert said.trainer.max_steps == 40_000
    assert said.backbone.img_size == 512
    assert said.trainer.sync_batchnorm


def test_reducers_learn_at_the_full_rate_and_layers_do_not_decay() -> None:
    model = segmenter("dynamic_vit", 0.5)
    groups = parameter_groups(model, 1.0, 0.1, backbone_lr_scale=0.25)
    rates = {id(one): group["lr"] for group in groups for one in group["params"]}
    assert {rates[id(one)] for one in model.reducers.parameters()} == {1.0}
    assert {rates[id(one)] for one in model.host.model.blocks.parameters()} == {0.25}
    with pytest.raises(ValueError, match=r"optimizer.layer_decay=0.5 is for classifiers"):
        parameter_groups(model, 1.0, 0.1, layer_decay=0.5)


def test_a_training_and_evaluations_with_other_methods(tmp_path: Path) -> None:
    record = run.train(composed("train", tmp_path / "dense", *SMALL, "trainer.max_epochs=1"))
    assert record.scored_by.label == "miou, %"
    result = record.result("fine_tuned")
    assert result is not None
    assert (result["images"], result["images_of"]) == (8, 8)
    written = json.loads((tmp_path / "dense" / "segmentation_fine_tuned.json").read_text())
    assert written["miou"] == pytest.approx(result["miou"], abs=1e-6)
    assert written["pixel_accuracy"] == pytest.approx(result["pixel_accuracy"], abs=1e-6)
    assert list(written["iou"])[:2] == ["background", "bar"]
    assert written["images"] == 8

    weights = tmp_path / "dense" / "weights.safetensors"
    reduced = ["reducer=atc_average", "keep_rate=0.5", "baselines=off_the_shelf", f"task.checkpoint='{weights}'"]
    tuned = run.train(composed("train", tmp_path / "tuned", *SMALL, *reduced, "optimizer.lr=0", "optimizer.min_lr=0"))
    assert tuned.tokens_per_block == [16, 16, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2]
    before, after = (tuned.result(name) or {} for name in ("off_the_shelf", "fine_tuned"))
    assert before["miou"] > 0

    given = [one for one in SMALL if not one.startswith(("experiment", "optimizer"))]
    backbone = ["backbone=timm", "backbone.name=vit_tiny_patch16_224", "+backbone.patch_size=8"]
    size = ["+backbone.embed_dim=24", "+backbone.num_heads=2"]
    given = [one for one in given if not one.startswith(("backbone.embed", "backbone.num"))]
    again = run.evaluate(
        composed(
            *("evaluate", tmp_path / "again", "datamodule=shapes_segmentation", *backbone, *size, *given),
            *("reducer=atc_average", "keep_rate=0.5", f"checkpoint='{weights}'"),
        )
    )
    assert (again.result("checkpoint") or {})["miou"] == pytest.approx(before["miou"])
    assert after["images"] == 8


@pytest.mark.parametrize("name", ["ade20k", pytest.param("voc", marks=pytest.mark.slow)])
def test_real_layouts_from_end_to_end(name: str, tmp_path: Path) -> None:
    """Pictures of several sizes, with windows that overlap, a frozen backbone, and a checkpoint of every epoch."""
    write = {"ade20k": write_ade20k, "voc": write_voc_segmentation}[name]
    write(tmp_path / "data", 6, 4, 56)
    settings = [
        *(f"experiment={name}_segmentation", "backbone=digits", "backbone.img_size=28", "trainer.precision=32-true"),
        *(f"datamodule.root='{tmp_path / 'data'}'", "datamodule.num_workers=0", "datamodule.batch_size=2"),
        *("datamodule.transforms.short_side=40", "trainer.max_steps=6", "trainer.max_epochs=null"),
        *(
            "optimizer.warmup_epochs=0",
            "trainer.check_val_every_n_epoch=1",
            "reducer=evit",
            "trainer.sync_batchnorm=false",
        ),
    ]
    record = run.train(composed("train", tmp_path / "run", *settings))
    result = record.result("fine_tuned") or {}
    assert 0 <= result["miou"] <= 1
    assert record.tokens_per_block is not None
    assert record.tokens_per_block[:1] == [49], "of one window"
    written = json.loads((tmp_path / "run" / "segmentation_fine_tuned.json").read_text())
    assert len(written["iou"]) == {"ade20k": 150, "voc": 21}[name]
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 6


def test_a_method_that_learns_is_not_frozen() -> None:
    model = segmenter("sinkhorn", 0.5, frozen=True)
    with pytest.raises(ValueError, match=r"task.frozen=true trains the head alone, and Sinkhorn learns layers"):
        Segmentation(model, 5, lambda *_: {}, frozen=True)
    Segmentation(model, 5, frozen=True)  # to be evaluated


def test_weights_for_other_classes_do_not_fit(tmp_path: Path) -> None:
    model, file = segmenter(), tmp_path / "model.safetensors"
    safetensors.save_file(model.state_dict(), file)
    other: Any = Segmenter(model.backbone, 7, 32)
    with pytest.raises(
        ValueError, match=r"does not fit the model: other shapes for linear_head.classifier.bias"
    ) as caught:
        load(other, file)
    assert "\n" not in str(caught.value)
    assert load(segmenter("atc_average", 0.5), file) == []  # type: ignore[arg-type]  # has what a run needs of a model


def test_batch_norms_of_several_devices_are_synchronised() -> None:
    assert isinstance(nn.SyncBatchNorm.convert_sync_batchnorm(segmenter()).linear_head.norm, nn.SyncBatchNorm)


def test_models_share_everything() -> None:
    vit: Any = small_vit()
    vit.pretrained_cfg = {**vit.pretrained_cfg, "input_size": (3, 32, 32)}
    reduced, dense = Segmentation.build_models(vit, 5, find_reducer("tome"), Stages(0.5, (4, 7, 10)), frozen=True)
    assert isinstance(reduced, Segmenter)
    assert reduced.window == 32
    assert reduced.stride == 21
    assert list(reduced.state_dict()) == list(dense.state_dict())
    assert {id(one) for one in reduced.parameters()} == {id(one) for one in dense.parameters()}


class Pictures(Logger):
    """Keeps what it is given to show."""

    name = version = "pictures"

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[str, list[Any]] = {}

    def log_metrics(self, *_: Any, **__: Any) -> None: ...

    def log_hyperparams(self, *_: Any, **__: Any) -> None: ...

    def log_image(self, key: str, images: list[Any], **_: Any) -> None:
        self.shown[key] = images


def test_pictures_of_clusters_are_of_a_window(tmp_path: Path) -> None:
    """Of images of two sizes, neither that of a window: the last one that was seen is drawn."""
    model = segmenter("atc_average", 0.5)
    model.host.model.pretrained_cfg = {**model.host.model.pretrained_cfg, "input_size": (3, 32, 32)}
    pictures, gallery = Pictures(), Gallery()
    trainer: Any = SimpleNamespace(loggers=[pictures], is_global_zero=True, global_step=0)
    task: Any = SimpleNamespace(model=model, test_name="test")
    with torch.no_grad():
        for image in (torch.randn(1, 3, 32, 32), torch.randn(1, 3, 40, 64)):
            model(image)
    gallery.on_test_batch_end(trainer, task, None, (torch.randn(2, 3, 64, 64), []), 0)
    (shown,) = pictures.shown["clusters/test"]
    assert shown.shape[0] == 224
    assert shown.shape[1] == 4 * 224 + 3 * 8


@pytest.mark.slow
def test_a_training_goes_on_as_if_it_had_not_ended(tmp_path: Path) -> None:
    """The statistics of the batch norm, the optimiser and the order of the scenes among it."""
    settings = [*SMALL, "reducer=atc_average", "trainer.max_epochs=2", "trainer.limit_train_batches=2"]
    settings += ["datamodule.train=32", "optimizer.sched=none"]
    whole = run.train(composed("train", tmp_path / "whole", *settings))
    cut = tmp_path / "cut"
    run.train(composed("train", cut, *settings, "trainer.max_epochs=1"))
    rest = run.train(composed("train", cut, *settings, f"resume='{cut}'"))
    assert rest.result("fine_tuned") == whole.result("fine_tuned")
    a, b = (safetensors.load_file(one / "weights.safetensors") for one in (tmp_path / "whole", cut))
    for name, value in a.items():
        torch.testing.assert_close(b[name], value)


@pytest.mark.slow
def test_two_processes_count_what_one_does(tmp_path: Path) -> None:
    """Nine scenes, of which one process has five: sums of whole numbers are the same to the last digit."""
    settings = ["datamodule=shapes_segmentation", "datamodule.test=9", "datamodule.num_workers=0", "threads=1"]
    settings += ["backbone=timm", "backbone.name=vit_tiny_patch16_224", "backbone.pretrained=false"]
    settings += ["backbone.img_size=32", "+backbone.patch_size=8", "+backbone.embed_dim=24", "+backbone.num_heads=2"]
    settings += ["reducer=atc_average", "datamodule.eval_batch_size=2", "trainer.limit_test_batches=1.0"]
    run.evaluate(composed("evaluate", tmp_path / "one", *settings))
    tiny = [one for one in TINY if not one.startswith(("datamodule.", "trainer.limit", "trainer.max"))]
    two = ["trainer.devices=2", "trainer.strategy=ddp", "hydra.run.dir=two"]
    done = command("evaluate.py", *tiny, *settings, *two, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    names = [tmp_path / name / "segmentation_off_the_shelf.json" for name in ("one", "two")]
    one, both = (json.loads(name.read_text()) for name in names)
    assert one == both
    assert one["images"] == 9


@pytest.mark.slow
def test_drawn_scenes_are_learned_in_half_a_minute(tmp_path: Path) -> None:
    """And the fewer tokens are kept off the shelf, the less is left of it."""
    settings = ["experiment=shapes_segmentation", "datamodule.train=1024", "datamodule.test=96", "trainer.max_epochs=1"]
    settings += ["datamodule.batch_size=32", "datamodule.val=8"]
    settings += [f"trainer.limit_{part}_batches=1.0" for part in ("train", "test")]
    record = run.train(composed("train", tmp_path / "run", *settings))
    found = [(record.result("fine_tuned") or {})["miou"]]
    given = ["backbone.name=vit_tiny_patch16_224", "backbone.pretrained=false", "backbone.img_size=64"]
    given += ["+backbone.patch_size=8", "+backbone.embed_dim=48", "+backbone.num_heads=3"]
    given += ["datamodule=shapes_segmentation", "backbone=timm", "datamodule.test=96", "datamodule.num_workers=0"]
    given += ["trainer.limit_test_batches=1.0", f"checkpoint='{tmp_path / 'run' / 'weights.safetensors'}'", "threads=1"]
    for rate in (0.9, 0.25):
        settings = [*given, "reducer=atc_average", f"keep_rate={rate}"]
        evaluated = run.evaluate(composed("evaluate", tmp_path / str(rate), *settings))
        found.append((evaluated.result("checkpoint") or {})["miou"])
    assert found[0] > 0.25
    assert found[0] > found[2] + 0.1
    assert found[1] > found[2]

"""A second backbone that reducers learn from."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from atc import run
from atc.config import build, teacher
from atc.config.objects import build_model
from atc.runs import identity
from atc.vit.backbones import SHIPPED_DIGITS
from tests.harness.commands import composed
from tests.reducers.kinds import Learned


class Watching(Learned):
    """Notes what its losses are told."""

    told: list = []

    def losses(self, plans, context):
        self.told.append(context)
        return super().losses(plans, context)


REDUCER = [f"reducer._target_={__name__}.Watching", "reducer=topk", "baselines=false", "trainer.max_epochs=1"]
REDUCER += ["optimizer.warmup_epochs=0"]


@pytest.mark.parametrize("more", [[], ["task.mixup=0.8"]])
def test_losses_are_told_labels_and_what_the_teacher_answers(tmp_path: Path, more: list[str]) -> None:
    Watching.told.clear()
    record = run.train(composed("train", tmp_path, *REDUCER, "teacher=digits", *more))
    assert record.status == "finished"
    context = Watching.told[0]
    assert context.teacher_logits.shape == context.logits.shape == (8, 10)
    assert context.teacher_features.shape == (8, 49, 48)
    assert context.labels.shape == ((8, 10) if more else (8,))
    assert not context.teacher_logits.requires_grad
    assert context.logits.requires_grad
    if not more:  # a good teacher of digits
        assert (context.teacher_logits.argmax(1) == context.labels).float().mean() > 0.8
    saved = torch.load(tmp_path / "last.ckpt", weights_only=False)["state_dict"]
    assert not any("teacher" in key for key in saved)


def test_without_a_teacher_there_are_labels_alone(tmp_path: Path) -> None:
    Watching.told.clear()
    run.train(composed("train", tmp_path, *REDUCER))
    assert Watching.told[0].labels.shape == (8,)
    assert Watching.told[0].teacher_logits is None


def test_a_teacher_that_nobody_asks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"teacher=digits: ToMe has no losses\(plans, context\)"):
        run.train(composed("train", tmp_path, "reducer=tome", "teacher=digits"))


def test_a_teacher_of_other_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = r"^teacher=\{.*\}: it sees the backbone's images of 28 x 28 pixels, and cannot: Input height \(28\) doesn't"
    other = "teacher={backbone:deit_tiny,pretrained:false}"
    with pytest.raises(ValueError, match=said) as error:
        run.train(composed("train", tmp_path, *REDUCER, other))
    assert "\n" not in str(error.value)
    name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    size = f"teacher={{backbone:timm,name:{name},pretrained:false,img_size:32}}"
    with pytest.raises(ValueError, match=r"images of 28 x 28 pixels, and cannot: Input height \(28\)"):
        build_model(composed("train", tmp_path, *REDUCER, size))
    assert not caplog.records
    fits = "teacher={backbone:deit_tiny,pretrained:false,img_size:32}"
    with caplog.at_level("WARNING", logger="atc"):
        build_model(composed("train", tmp_path, *REDUCER, fits, "backbone.img_size=32"))
    assert "it sees images of the backbone's mean (0.5, 0.5, 0.5); its own is (0.485" in caplog.text


def test_settings_of_the_teacher() -> None:
    assert teacher.node(None) is None
    plain = teacher.node("deit_small")
    assert plain == OmegaConf.load(build.conf_dir() / "backbone" / "deit_small.yaml")
    assert teacher.node({"backbone": "digits", "checkpoint": "x.ckpt"}).checkpoint == "x.ckpt"
    for library in ("timm", "transformers", "torchvision", "open_clip"):  # whose `name` has no default
        assert teacher.node({"backbone": library, "name": "x"}).name == "x"
        with pytest.raises(ValueError, match=rf"^teacher={library}: name has no default: .*backbone:{library},name:"):
            teacher.node(library)
    for wrong in ("deit", {"checkpoint": "x"}, {"backbone": "digits", "chekpoint": "x"}):
        with pytest.raises(ValueError, match="teacher") as error:
            teacher.node(wrong)
        assert "\n" not in str(error.value)


def test_the_backbone_itself_before_the_training(tmp_path: Path) -> None:
    Watching.told.clear()
    cfg = composed("train", tmp_path, *REDUCER, "teacher=true")
    assert teacher.node(True, cfg.backbone) is cfg.backbone
    assert teacher.node(False, cfg.backbone) is None
    run.train(cfg)
    assert (Watching.told[0].teacher_logits.argmax(1) == Watching.told[0].labels).float().mean() > 0.8


def test_the_recipe_of_deit_gives_dynamic_vit_a_teacher(tmp_path: Path) -> None:
    recipe = ["experiment=deit_finetune", "datamodule.root=."]
    assert composed("train", tmp_path, *recipe, "reducer=dynamic_vit").teacher is True
    assert composed("train", tmp_path, *recipe, "reducer=topk").teacher is None


def test_runs_without_a_teacher_keep_their_identity(tmp_path: Path) -> None:
    cfg = composed("train", tmp_path)
    with_null = identity.identity(cfg)
    OmegaConf.set_struct(cfg, False)
    del cfg["teacher"]
    assert identity.identity(cfg) == with_null
    cfg.teacher = "digits"
    assert identity.identity(cfg) != with_null


@pytest.mark.parametrize("said", ["true", "digits", "{backbone:digits,checkpoint:FILE}"])
def test_a_head_of_other_classes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr("datamodules.digits.Digits.num_classes", 7)
    cfg = composed("train", tmp_path, *REDUCER, f"teacher={said.replace('FILE', str(SHIPPED_DIGITS))}")
    with pytest.raises(ValueError, match=r"^teacher=.*: its head is for 10 classes, and the data set has 7") as error:
        build_model(cfg)
    assert "\n" not in str(error.value)
    assert "checkpoint:RUN_OR_FILE" in str(error.value)


def test_a_head_that_is_not_trained_is_refused(tmp_path: Path) -> None:
    """Weights without a classifier, such as those of self-supervised models."""
    state = {key: value for key, value in load_file(SHIPPED_DIGITS).items() if not key.startswith("head.")}
    save_file(state, tmp_path / "headless.safetensors")
    file = tmp_path / "headless.safetensors"
    for said in (["teacher=true", f"backbone.checkpoint={file}"], [f"teacher={{backbone:digits,checkpoint:{file}}}"]):
        with pytest.raises(ValueError, match=r"^teacher=.*: its head is not trained: take one that was fine-tuned"):
            build_model(composed("train", tmp_path, *REDUCER, *said))


def test_a_run_is_a_teacher(tmp_path: Path) -> None:
    """A run directory stands for its best weights; layers that its reducer learned are left out."""
    run.train(composed("train", tmp_path / "tuned", "reducer=sit", "baselines=false", "optimizer.warmup_epochs=0"))
    said = f"teacher={{backbone:digits,checkpoint:{tmp_path / 'tuned'}}}"
    cfg = composed("train", tmp_path / "next", *REDUCER, said)
    built = build_model(cfg).teacher
    best = torch.load(tmp_path / "tuned" / "best.ckpt", weights_only=False)["state_dict"]
    assert torch.equal(built.state_dict()["head.weight"], best["model.head.weight"])
    with pytest.raises(FileNotFoundError, match="holds neither best"):
        build_model(
            composed("train", tmp_path / "next", *REDUCER, f"teacher={{backbone:digits,checkpoint:{tmp_path}}}")
        )

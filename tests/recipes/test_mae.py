"""experiment=mae_finetune: rates by layer and by update, the head, the pooling, self-supervised weights."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn import functional as F

import atc
from atc import run
from atc.config import build
from atc.vit.backbones import timm_vit
from tests.harness.commands import composed

MAE = "experiment=mae_finetune"
SIZES = ["mae_base", "mae_large", "mae_huge"]
SMALL = {"embed_dim": 48, "depth": 4, "num_heads": 3, "img_size": 64}


def vit(num_classes: int = 10, **args: Any) -> torch.nn.Module:
    settings = {"pretrained": False, "global_pool": "avg", **SMALL, **args}
    return timm_vit("vit_base_patch16_224.mae", num_classes, **settings)


def self_supervised(path: Path) -> str:
    """mae_pretrain_vit_*.pth: an encoder with its last norm, without a head, under "model"."""
    encoder = timm_vit("vit_base_patch16_224.mae", 0, pretrained=False, **SMALL)
    state = {name: torch.randn_like(value) * 0.02 for name, value in encoder.state_dict().items()}
    assert {"norm.weight", "norm.bias"} <= set(state)
    assert not any(name.startswith(("fc_norm", "head")) for name in state)
    torch.save({"model": state}, path / "mae_pretrain_vit_base.pth")
    return str(path / "mae_pretrain_vit_base.pth")


def configured(tmp_path: Path, model: torch.nn.Module, batch: int = 1024, *overrides: str) -> dict[str, Any]:
    configure = build.instantiate(composed("train", tmp_path, MAE, *overrides).optimizer)
    return configure(model, 100 * 1251, 100, batch)


def test_rates_by_layer(tmp_path: Path) -> None:
    """layer_decay ** (L + 1 - id): id 0 below the blocks, i + 1 for block i counted from 0, L + 1 for the rest."""
    model = atc.wrap(vit(), "dpc_knn", schedule="constant", t=1)
    names = {id(parameter): name.removeprefix("vit.") for name, parameter in model.named_parameters()}
    seen = set()
    made = configured(tmp_path, model)
    for group in made["optimizer"].param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.add(name)
            layer = 5
            if name.startswith(("cls_token", "pos_embed", "patch_embed")):
                layer = 0
            elif name.startswith("blocks."):
                layer = int(name.split(".")[1]) + 1
            assert group.get("lr_scale", 1.0) == pytest.approx(0.65 ** (5 - layer)), name
            spared = parameter.ndim == 1 or name in ("cls_token", "pos_embed")
            assert group["weight_decay"] == (0 if spared else 0.05), name
    assert seen == set(names.values())
    assert {"fc_norm.weight", "head.weight", "reducers.1.weight.weight"} <= seen
    assert made["optimizer"].param_groups[0].get("lr_scale", 1.0) == 1, "the first group is what is logged"


def test_rates_by_update(tmp_path: Path) -> None:
    """lr = blr * batch / 256; up to it in a line within 5 epochs, then half a cosine from there down to 1e-6."""
    made = configured(tmp_path, vit())
    scheduler, groups = made["lr_scheduler"]["scheduler"], made["optimizer"].param_groups
    assert groups[0]["lr"] == 0
    for epoch in (0.5, 2, 5, 20, 52.5, 99.9):
        step = round(epoch * 1251)
        scheduler.step_update(step)
        passed = step / 1251
        expected = 2e-3 * passed / 5
        if passed >= 5:
            expected = 1e-6 + (2e-3 - 1e-6) * 0.5 * (1 + math.cos(math.pi * (passed - 5) / 95))
        for group in groups:
            assert group["lr"] == pytest.approx(expected * group.get("lr_scale", 1.0), rel=1e-6)


def test_one_update(tmp_path: Path) -> None:
    """AdamW by hand (arXiv 1711.05101), every layer at its rate, against the whole machinery."""
    model = atc.wrap(vit().double().train(), "tome", schedule="constant", t=1)
    made = configured(tmp_path, model)
    made["lr_scheduler"]["scheduler"].step_update(1251)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    F.cross_entropy(model(torch.randn(4, 3, 64, 64).double()), torch.arange(4)).backward()
    made["optimizer"].step()
    for full_name, parameter in model.named_parameters():
        name, g = full_name.removeprefix("vit."), parameter.grad
        layer = int(name.split(".")[1]) + 1 if name.startswith("blocks.") else 5
        layer = 0 if name.startswith(("cls_token", "pos_embed", "patch_embed")) else layer
        rate = 2e-3 / 5 * 0.65 ** (5 - layer)
        decay = 0.05 if parameter.ndim > 1 and name not in ("cls_token", "pos_embed") else 0.0
        expected = before[full_name] * (1 - rate * decay) - rate * g / (g.abs() + 1e-8)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "t", "epochs", "rate", "decay", "drop_path"),
    [
        ("mae_base", 16, 100, 5e-4, 0.65, 0.1),
        ("mae_large", 8, 50, 1e-3, 0.75, 0.2),
        ("mae_huge", 7, 50, 1e-3, 0.75, 0.3),
    ],
)
def test_sizes(tmp_path: Path, size: str, t: int, epochs: int, rate: float, decay: float, drop_path: float) -> None:
    cfg = composed("train", tmp_path, MAE, f"backbone={size}")
    assert (cfg.optimizer.lr, cfg.optimizer.layer_decay, cfg.backbone.drop_path_rate) == (rate, decay, drop_path)
    assert (cfg.schedule.t, cfg.schedule.clamp) == (t, True)
    assert (cfg.proportional_attention, cfg.size_weighted) == (False, None)
    assert cfg.backbone.url.endswith(f"pretrain/mae_pretrain_vit_{size.removeprefix('mae_')}.pth")
    assert (cfg.task.mixup, cfg.task.cutmix, cfg.task.label_smoothing) == (0.8, 1.0, 0.1)
    files = [
        build.conf_dir() / "experiment" / name
        for name in ("mae_finetune.yaml", f"by_backbone/mae_finetune/{size}.yaml")
    ]
    plain = OmegaConf.merge(*(OmegaConf.load(file) for file in files))  # before the tests make everything small
    assert plain.trainer.max_epochs == epochs
    assert plain.datamodule.batch_size * plain.trainer.accumulate_grad_batches == 1024


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_the_same_attention_with_and_without_training(tmp_path: Path, size: str, command: str) -> None:
    """Off the shelf as well, sizes do not count in the attention of these backbones, unless one says so."""
    said = [f"backbone={size}", "reducer=tome"]
    assert composed(command, tmp_path, *said).proportional_attention is False
    assert composed(command, tmp_path, *said, "proportional_attention=true").proportional_attention is True
    assert composed(command, tmp_path, "backbone=augreg_base").proportional_attention is None


@pytest.mark.parametrize("schedule", ["constant", "linear"])
@pytest.mark.parametrize(
    ("size", "depth", "patches"), [("mae_base", 12, 196), ("mae_large", 24, 196), ("mae_huge", 32, 256)]
)
def test_tokens_of_both_schedules(tmp_path: Path, schedule: str, size: str, depth: int, patches: int) -> None:
    """Patches left after the last block, ATC: one less than the tokens with CLS that the authors' counting gives."""
    left = {"constant": (4, 4, 32), "linear": (9, 15, 47)}[schedule][SIZES.index(size)]
    released = {"constant": (16, 28, 64), "linear": (20, 37, 76)}[schedule][SIZES.index(size)]
    for as_released, expected in (("false", left), ("true", released)):
        cfg = composed("train", tmp_path, MAE, f"backbone={size}", f"schedule={schedule}", f"as_released={as_released}")
        counts = build.instantiate(cfg.schedule).resolve(patches, depth, surplus=1)
        assert counts[-1].keep == expected


def test_self_supervised_weights(tmp_path: Path) -> None:
    """A new head, small and without bias; a new norm after the pooling; all else from the file."""
    file = self_supervised(tmp_path)
    model = vit(555, checkpoint=file, head_std=2e-5)
    state = torch.load(file, weights_only=True)["model"]
    assert model.head.weight.std().item() == pytest.approx(2e-5, rel=0.05)
    assert model.head.bias.abs().max() == 0
    assert torch.equal(model.fc_norm.weight, torch.ones(48))
    own = model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in state.items() if not name.startswith("norm."))


def test_a_head_that_comes_with_the_weights_stays(tmp_path: Path) -> None:
    fine_tuned = vit(10)
    torch.save({"model": fine_tuned.state_dict()}, tmp_path / "mae_finetuned_vit_base.pth")
    again = vit(10, checkpoint=str(tmp_path / "mae_finetuned_vit_base.pth"), head_std=2e-5)
    assert torch.equal(again.head.weight, fine_tuned.head.weight)
    other = vit(7, checkpoint=str(tmp_path / "mae_finetuned_vit_base.pth"), head_std=2e-5)
    assert other.head.weight.abs().max() < 1e-4


def test_the_pooling_counts_patches_and_is_normalised_once() -> None:
    model = atc.wrap(vit().double().eval(), "atc_average", schedule="constant", t=2, proportional_attention=False)
    calls: list[torch.Tensor] = []
    model.vit.fc_norm.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0]))
    images = torch.randn(2, 3, 64, 64).double()
    with torch.no_grad():
        x = model.forward_features(images)
        model(images)
    size = model.trace[-1].size
    assert len(calls) == 1
    assert size.max() > 1
    torch.testing.assert_close(calls[0], (x[:, 1:] * size[..., None]).sum(1) / 16)


def test_the_whole_recipe(tmp_path: Path) -> None:
    tiny = [
        f"backbone.{key}={value}" if key == "img_size" else f"+backbone.{key}={value}" for key, value in SMALL.items()
    ]
    recipe = ["trainer.precision=32-true", "optimizer.warmup_epochs=1", "datamodule=digits", "t=2"]
    weights = f"backbone.checkpoint={self_supervised(tmp_path)}"
    cfg = composed("train", tmp_path / "run", MAE, *recipe, *tiny, weights, "schedule=linear")
    found = run.train(cfg)
    assert found.status == "finished"
    assert found.tokens_per_block == [16, 12, 10, 9]
    assert "fine_tuned" in found.results
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    scales = {group.get("lr_scale", 1.0) for group in state["optimizer_states"][0]["param_groups"]}
    assert sorted(scales) == pytest.approx([0.65**power for power in (5, 4, 3, 2, 1, 0)])

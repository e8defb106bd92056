"""experiment=deit_finetune: who learns at which rate, the rates of all updates, losses, one update, the average."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.utils import ModelEmaV2
from torch import nn
from torch.nn import functional as F

import atc
from atc import run
from atc.config import build
from atc.tasks.classification import Classification
from atc.vit.backbones import read_weights, timm_vit
from tests.harness.commands import composed

DEIT = "experiment=deit_finetune"
STEPS = 1251  # updates an epoch: 1,281,167 photographs, 1,024 at a time
SMALL = {"embed_dim": 48, "depth": 3, "num_heads": 3, "img_size": 32}


def model(reducer: str = "dpc_knn") -> atc.ReducedViT:
    vit = timm_vit("deit_tiny_patch16_224", 10, pretrained=False, **SMALL)
    return atc.wrap(vit, reducer, 0.5, blocks=(2, 3))


def configured(tmp_path: Path, *overrides: str, batch: int = 1024, of: nn.Module | None = None) -> dict[str, Any]:
    """Optimiser and schedule of the recipe, for the length of ImageNet."""
    configure = build.instantiate(composed("train", tmp_path, DEIT, "trainer.max_epochs=30", *overrides).optimizer)
    return configure(model() if of is None else of, 30 * STEPS, 30, batch)


def rates(made: dict[str, Any], steps: list[int], group: int = 0) -> list[float]:
    scheduler = made["lr_scheduler"]["scheduler"]
    found = []
    for step in steps:
        scheduler.step_update(step)
        found.append(made["optimizer"].param_groups[group]["lr"])
    return found


def test_parameter_groups(tmp_path: Path) -> None:
    reduced = model()
    names = {id(parameter): name for name, parameter in reduced.named_parameters()}
    groups = configured(tmp_path, of=reduced)["optimizer"].param_groups
    found = [({names[id(p)].removeprefix("vit.") for p in g["params"]}, g["weight_decay"]) for g in groups]
    new, new_spared, old, old_spared = (members for members, _ in found)
    assert [decay for _, decay in found] == [0.05, 0, 0.05, 0]
    assert new == {"head.weight", "patch_embed.proj.weight", *(f"reducers.{b}.weight.weight" for b in (2, 3))}
    assert new_spared == {
        *("head.bias", "patch_embed.proj.bias", "pos_embed"),
        *(f"reducers.{b}.weight.bias" for b in (2, 3)),
    }
    matrices = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert old == {f"blocks.{block}.{part}.weight" for block in range(3) for part in matrices}
    assert {"cls_token", "norm.weight", "blocks.0.norm1.bias", "blocks.0.attn.qkv.bias"} <= old_spared
    assert sum(len(members) for members, _ in found) == len(names)


@pytest.mark.parametrize("switch", ["optimizer.warmup_prefix=false", "as_released=true"])
def test_the_released_rates(tmp_path: Path, switch: str) -> None:
    made = configured(tmp_path, switch)
    assert made["optimizer"].param_groups[0]["lr"] == pytest.approx(1e-6)
    expected = {0: 1e-6, 12510: 5.005e-4, 25019: 9.9996e-4, 25020: 2.575e-4, 31275: 7.632e-5, 37530: 1e-5}
    assert rates(made, list(expected)) == pytest.approx(list(expected.values()), rel=2e-4)


def test_by_default_nothing_jumps(tmp_path: Path) -> None:
    made = configured(tmp_path)
    before, peak, after, last = rates(made, [25019, 25020, 25021, 37529])
    assert before == pytest.approx(9.9996e-4, rel=1e-4)
    assert peak == pytest.approx(1e-3)
    assert after == pytest.approx(1e-3, rel=1e-4)
    assert last == pytest.approx(1e-5, rel=1e-3)


def test_the_rate_grows_with_the_batch(tmp_path: Path) -> None:
    assert rates(configured(tmp_path, batch=512), [25020]) == pytest.approx([5e-4])


def test_a_slower_backbone_that_starts_frozen(tmp_path: Path) -> None:
    made = configured(tmp_path, "optimizer.backbone_lr_scale=0.01", "optimizer.backbone_freeze_epochs=2")
    assert [group["lr"] for group in made["optimizer"].param_groups] == pytest.approx([1e-6, 1e-6, 0, 0])
    steps = [2 * STEPS - 1, 2 * STEPS, 25020, 37530]
    peak, start, low = 1e-5, 1e-6, 1e-5
    assert rates(made, steps, group=2) == pytest.approx([0, start + 2 / 20 * (peak - start), peak, low])
    assert rates(made, [25020]) == pytest.approx([1e-3])


def test_frozen_weights_rest_while_their_moments_gather(tmp_path: Path) -> None:
    reduced = model("topk").train()
    made = configured(tmp_path, "optimizer.backbone_freeze_epochs=1", of=reduced)
    before = {name: value.clone() for name, value in reduced.state_dict().items()}
    reduced(torch.randn(2, 3, 32, 32)).square().sum().backward()
    made["optimizer"].step()
    after = reduced.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert "head.weight" in moved
    assert "blocks.0.attn.qkv.weight" not in moved
    state = made["optimizer"].state[reduced.vit.blocks[0].attn.qkv.weight]
    assert state["exp_avg"].abs().sum() > 0


def test_settings_that_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"layer_decay=0\.5 or backbone_lr_scale=0\.1"):
        configured(tmp_path, "optimizer.layer_decay=0.5", "optimizer.backbone_lr_scale=0.1")
    with pytest.raises(ValueError, match=r"backbone_freeze_epochs=1 needs a schedule"):
        configured(tmp_path, "optimizer.backbone_freeze_epochs=1", "optimizer.sched=none")
    with pytest.raises(ValueError, match=r"lr_batch_normalizer=1024: the data module has no batch_size"):
        configured(tmp_path, batch=0)


def test_losses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Soft targets of a mixture, smoothed by .1: by hand, for three classes."""
    monkeypatch.setattr(Classification, "log", lambda *_, **__: None)
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]])
    cfg = composed("train", tmp_path, DEIT)
    task = build.instantiate(cfg.task)(nn.Identity(), 3)
    assert (task.mixup.mixup_alpha, task.mixup.cutmix_alpha, task.mixup.mix_prob) == (0.8, 1.0, 1.0)
    assert task.mixup.switch_prob == 0.5
    soft = torch.tensor([[0.7, 0.3, 0.0], [0.3, 0.0, 0.7]]) * 0.9 + 0.1 / 3
    task.mixup = lambda *_: (logits, soft)
    monkeypatch.setattr(
        Classification, "trainer", type("T", (), {"optimizers": [torch.optim.SGD([nn.Parameter(logits)], lr=0.1)]})
    )
    log_p = [[x - math.log(sum(math.exp(y) for y in row)) for x in row] for row in logits.tolist()]
    expected = -sum(t * lp for ts, lps in zip(soft.tolist(), log_p, strict=True) for t, lp in zip(ts, lps, strict=True))
    assert task.training_step((logits, None), 0).item() == pytest.approx(expected / 2, rel=1e-6)


def test_one_update(tmp_path: Path) -> None:
    """AdamW by hand: Algorithm 2 of arXiv 1711.05101, with the rate multiplied into the decay."""
    torch.manual_seed(1)
    reduced = model("topk").double().train()
    made = configured(tmp_path, of=reduced)
    made["lr_scheduler"]["scheduler"].step_update(5 * STEPS)
    rate = 1e-6 + 5 / 20 * (1e-3 - 1e-6)
    images, classes = torch.randn(4, 3, 32, 32).double(), torch.tensor([0, 1, 2, 3])
    before = {name: p.detach().clone() for name, p in reduced.named_parameters()}
    F.cross_entropy(reduced(images), classes, label_smoothing=0.1).backward()
    made["optimizer"].step()
    for name, parameter in reduced.named_parameters():
        g = parameter.grad
        mean, square = 0.1 * g / (1 - 0.9), 0.001 * g**2 / (1 - 0.999)
        decay = 0.05 if parameter.ndim > 1 and not name.endswith(("pos_embed", "cls_token")) else 0.0
        expected = before[name] * (1 - rate * decay) - rate * mean / (square.sqrt() + 1e-8)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-9, atol=1e-12)


# The recipe in miniature.
MINI = ["trainer.precision=32-true", "optimizer.warmup_epochs=1", "baselines=false", "backbone=digits"]


@pytest.mark.parametrize(("data", "score"), [("digits", "accuracy"), ("shapes", "map")])
def test_the_whole_recipe(tmp_path: Path, data: str, score: str) -> None:
    cfg = composed("train", tmp_path, DEIT, *MINI, f"datamodule={data}", "datamodule.num_workers=0")
    assert ("mixup" in cfg.task) == (data == "digits")
    assert (cfg.trainer.accumulate_grad_batches, cfg.callbacks.ema.decay) == (4, 0.99996)
    found = run.train(cfg)
    assert 0 < found.results["fine_tuned"][score] <= 1
    assert found.results["validation"][score] > 0
    assert found.selection == "validation"


def test_the_average_is_timms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts from the weights that training starts from, unlike Lightning's own."""
    cfg = composed("train", tmp_path, DEIT, *MINI, "datamodule=digits", "trainer.accumulate_grad_batches=1")
    cfg.callbacks.ema.decay = 0.7
    parts = run.build(cfg)
    reference = ModelEmaV2(parts.model, decay=0.7)
    step = parts.task.lr_scheduler_step

    def after_update(scheduler: Any, metric: Any) -> None:
        reference.update(parts.model)
        step(scheduler, metric)

    monkeypatch.setattr(parts.task, "lr_scheduler_step", after_update)
    parts.trainer.fit(parts.task, parts.datamodule)
    averaged = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in reference.module.state_dict().items():
        torch.testing.assert_close(averaged[f"model.{name}"], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("averaged_best", [True, False])
def test_the_better_weights_are_selected(tmp_path: Path, averaged_best: bool) -> None:
    """Fresh weights: an average that never moves is worse than training; a rate so high that it is better."""
    settings = ["callbacks.ema.decay=1.0", "datamodule=digits", "trainer.accumulate_grad_batches=1"]
    settings += ["optimizer.warmup_epochs=0", "trainer.limit_val_batches=1.0", "task.mixup=0", "task.cutmix=0"]
    if averaged_best:
        settings += ["optimizer.lr=0.5", "optimizer.min_lr=0.5", "reducer=topk"]
    else:
        settings += ["backbone.pretrained=false", "optimizer.lr=0.1", "trainer.limit_train_batches=20"]
    cfg = composed("train", tmp_path, DEIT, *MINI, *settings)
    found = run.train(cfg)
    saved = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert saved["averaged_best"] == averaged_best
    chosen = saved["state_dict" if averaged_best else "current_model_state"]
    assert torch.equal(read_weights(tmp_path / "best.ckpt")["head.weight"], chosen["model.head.weight"])
    assert torch.equal(read_weights(tmp_path / "weights.safetensors")["head.weight"], chosen["model.head.weight"])
    assert found.results["validation"]["accuracy"] > 0.1


def test_what_each_data_set_changes(tmp_path: Path) -> None:
    for data, policy in {"imagenet": "rand-m9-mstd0.5-inc1", "nabirds": None, "coco": "rand-m9-mstd0.5-inc1"}.items():
        cfg = composed("train", tmp_path, DEIT, f"datamodule={data}")
        assert cfg.datamodule.transforms.auto_augment == policy
        assert cfg.datamodule.repeats == 3
        assert ("mixup" in cfg.task) == (data != "coco")
        assert cfg.backbone.drop_path_rate == 0.1

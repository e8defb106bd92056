"""Learning rates against the formula, parameter groups, the length of a training."""

import itertools
import math
from types import SimpleNamespace

import pytest
from torch import nn

from atc.tasks.optim import configure, training_length
from atc.vit.backbones import digits

RECIPE = {"opt": "adamw", "lr": 1e-3, "weight_decay": 0.05, "sched": "cosine", "warmup_lr": 1e-6, "min_lr": 1e-5}


def rates(epochs: int, per_epoch: int = 10, **settings: object) -> list[float]:
    """The learning rate of every update."""
    made = configure(nn.Linear(2, 2), epochs * per_epoch, epochs, **{**RECIPE, **settings})  # type: ignore[arg-type]
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    found = []
    for step in range(epochs * per_epoch):
        found.append(optimizer.param_groups[0]["lr"])
        scheduler.step_update(step + 1)
    return found


def test_warm_up_then_cosine_without_a_jump() -> None:
    found = rates(30, warmup_epochs=5)
    assert found[0] == pytest.approx(1e-6)
    assert found[25] == pytest.approx(1e-6 + 0.5 * (1e-3 - 1e-6))
    for step in (50, 120, 299):
        cosine = 1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + math.cos(math.pi * (step - 50) / 250))
        assert found[step] == pytest.approx(cosine)
    assert max(abs(a - b) for a, b in itertools.pairwise(found)) < 3e-5


def test_the_published_recipe_jumps_where_its_warm_up_ends() -> None:
    found = rates(30, warmup_epochs=20, warmup_prefix=False)
    expected = {0: 1e-6, 5: 2.5e-4, 10: 5e-4, 20: 2.58e-4, 25: 7.6e-5}
    for epoch, rate in expected.items():
        assert found[10 * epoch] == pytest.approx(rate, rel=0.01)
    assert found[199] == pytest.approx(1e-3, rel=0.01)


def test_only_matrices_decay() -> None:
    vit = digits(pretrained=False)
    groups = configure(vit, 10, 1, **RECIPE)["optimizer"].param_groups  # type: ignore[arg-type]
    names = {id(parameter): name for name, parameter in vit.named_parameters()}
    decayed = {names[id(p)] for group in groups if group["weight_decay"] > 0 for p in group["params"]}
    spared = {names[id(p)] for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert decayed | spared == set(names.values())
    assert {"cls_token", "pos_embed", "blocks.0.norm1.weight", "head.bias"} <= spared
    assert {"head.weight", "blocks.11.attn.qkv.weight", "patch_embed.proj.weight"} <= decayed


def test_a_warm_up_that_leaves_nothing() -> None:
    with pytest.raises(ValueError, match=r"warmup_epochs=5 leaves nothing of trainer\.max_epochs=5"):
        rates(5, warmup_epochs=5)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (7 * 10, 7, 32)),
        ({"limit_train_batches": 4}, (7 * 4, 7, 32)),
        ({"limit_train_batches": 0.5}, (7 * 5, 7, 32)),
        ({"accumulate_grad_batches": 3}, (7 * 4, 7, 96)),
        ({"max_steps": 12}, (12, 7, 32)),
        ({"max_steps": 12, "max_epochs": -1}, (12, 2, 32)),
        ({"world_size": 2}, (7 * 5, 7, 64)),
    ],
)
def test_length_of_a_training(settings: dict[str, object], expected: tuple[int, int, int]) -> None:
    trainer = {"max_epochs": 7, "max_steps": -1, "limit_train_batches": 1.0, "accumulate_grad_batches": 1}
    data = SimpleNamespace(train_dataloader=lambda: range(10), batch_size=32)
    made = SimpleNamespace(**{**trainer, "world_size": 1, "datamodule": data, **settings})
    assert training_length(made) == expected  # type: ignore[arg-type]


def test_a_training_without_end() -> None:
    data = SimpleNamespace(train_dataloader=lambda: range(10))
    endless = SimpleNamespace(
        max_epochs=-1, max_steps=-1, limit_train_batches=1.0, accumulate_grad_batches=1, world_size=1, datamodule=data
    )
    with pytest.raises(ValueError, match="one of them has to be positive"):
        training_length(endless)  # type: ignore[arg-type]


def test_no_schedule() -> None:
    assert list(configure(nn.Linear(2, 2), 10, 1, **{**RECIPE, "sched": "none"})) == ["optimizer"]  # type: ignore[arg-type]

"""The detectors' recipe: what decays, rates at updates, and an update against one written out."""

from typing import Any

import pytest
import torch
from torch import nn

from atc.tasks.detection_recipe import StepsAfterEpochs, configure, parameter_groups, rate_notice

PUBLISHED: dict[str, Any] = {"lr": 1e-4, "weight_decay": 0.05, "milestones": [27, 33], "lr_batch_normalizer": 16}


class Parts(nn.Module):
    """Parameters under names such as a detector has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.level_embed = nn.Parameter(torch.randn(3, 4))
        self.pos_embed = nn.Parameter(torch.randn(1, 5, 4))
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.query_norm = nn.LayerNorm(4)
        self.gamma = nn.Parameter(torch.zeros(4))
        self.fc = nn.Linear(4, 2)
        self.frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)


def test_what_decays_is_told_by_names_alone() -> None:
    model = Parts()
    decaying, spared = parameter_groups(model, 0.05)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert [names[id(one)] for one in decaying["params"]] == ["gamma", "stem.0.weight", "stem.1.weight", "fc.weight"]
    assert decaying["weight_decay"] == 0.05
    assert spared["weight_decay"] == 0
    assert {names[id(one)] for one in spared["params"]} == {
        *("level_embed", "pos_embed", "stem.0.bias", "stem.1.bias"),
        *("query_norm.weight", "query_norm.bias", "fc.bias"),
    }


def rates(batch: int = 16, accumulate: int = 1, as_released: bool = False, **settings: Any) -> StepsAfterEpochs:
    made = configure(
        Parts(), 36_000, 36, batch, accumulate=accumulate, as_released=as_released, **{**PUBLISHED, **settings}
    )
    return made["lr_scheduler"]["scheduler"]


def test_rates_of_the_published_recipe() -> None:
    rate = rates().rate
    assert rate(0) == pytest.approx(1e-7)
    assert rate(250) == pytest.approx(1e-4 * (1 - 0.5 * 0.999))
    assert rate(499) == pytest.approx(1e-4 * (1 - 0.002 * 0.999))
    assert rate(500) == rate(26_999) == 1e-4
    assert rate(27_000) == rate(32_999) == pytest.approx(1e-5)
    assert rate(33_000) == rate(35_999) == pytest.approx(1e-6)


def test_as_released_the_warm_up_counts_batches() -> None:
    """The authors' command: 8 images, two batches behind an update; the rate of an update is that of its last batch."""
    rate = rates(accumulate=2, as_released=True).rate
    assert rate(0) == pytest.approx(1e-4 * (1 - (1 - 1 / 500) * 0.999))
    assert rate(124) == pytest.approx(1e-4 * (1 - (1 - 249 / 500) * 0.999))
    assert rate(250) == 1e-4
    assert rates(accumulate=2).rate(250) < 1e-4


def test_the_rate_grows_with_the_batch_and_the_record_says_so() -> None:
    assert rates(batch=4).lr == pytest.approx(2.5e-5)
    assert rates(batch=4, lr_batch_normalizer=None).lr == 1e-4
    assert rate_notice(PUBLISHED, 4) == "optimizer.lr=0.0001 is for 16 images an update: with 4 of them it is 2.5e-05"
    assert rate_notice(PUBLISHED, 16) is None
    assert rate_notice({"lr": 1e-4}, 4) is None


@pytest.mark.parametrize("milestones", [[33, 27], [27, 27], [36], [40]])
def test_milestones_ascend_within_the_training(milestones: list[int]) -> None:
    with pytest.raises(ValueError, match=r"optimizer\.milestones=\[.*\] must be epochs that ascend"):
        rates(milestones=milestones)


def test_an_update_is_adamw_written_out() -> None:
    model, lr, decay = Parts(), 1e-3, 0.05
    optimizer = configure(model, 100, 1, 16, lr=lr, weight_decay=decay, warmup_updates=0)["optimizer"]
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    images = torch.rand(2, 3, 5, 5)
    loss = (model.fc(model.query_norm(model.stem(images).mean((2, 3)) + model.gamma + model.level_embed[0])) ** 2).sum()
    loss.backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert torch.equal(parameter, before[name])
            continue
        spared = any(part in name for part in ("level_embed", "pos_embed", "norm", "bias"))
        first = 0.1 * parameter.grad / (1 - 0.9)
        second = 0.001 * parameter.grad**2 / (1 - 0.999)
        expected = before[name] * (1 - lr * (0.0 if spared else decay)) - lr * first / (second.sqrt() + 1e-8)
        torch.testing.assert_close(parameter.detach(), expected)

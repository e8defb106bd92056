"""Loss and metrics of one class per image."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from atc.tasks.classification import Classification

IMAGES, CLASSES = torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 2])


class Toy(nn.Module):
    """Logits that can be set, and a loss of the reducers' own."""

    def __init__(self, logits: Tensor):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[: len(images)]

    def losses(self) -> dict[str, Tensor]:
        return {"ratio": torch.tensor(0.25)}


def plain(value: Any) -> Any:
    return value.compute() if isinstance(value, Metric) else value


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    monkeypatch.setattr(Classification, "log", lambda _, name, value, **__: found.update({name: plain(value)}))
    monkeypatch.setattr(Classification, "log_dict", lambda _, metrics, **__: found.update(metrics.compute()))
    return found


def test_metrics(logged: dict[str, Any]) -> None:
    logits = torch.eye(7)[[0, 1, 0, 2]] * 5 - torch.arange(7) / 100  # three of four right, the other second or third
    task = Classification(Toy(logits), num_classes=7)
    task.test_name = "off_the_shelf"
    task.test_step((IMAGES, CLASSES), 0)
    assert logged["off_the_shelf/accuracy"] == 0.75
    assert logged["off_the_shelf/top5"] == 1
    torch.testing.assert_close(logged["off_the_shelf/loss"], F.cross_entropy(logits, CLASSES))


def test_the_reducers_losses_are_added(logged: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(4, 7)
    task = Classification(Toy(logits), num_classes=7, label_smoothing=0.1)
    optimizer = torch.optim.SGD(task.parameters(), lr=0.1)
    monkeypatch.setattr(Classification, "trainer", type("Trainer", (), {"optimizers": [optimizer]}))
    loss = task.training_step((IMAGES, CLASSES), 0)
    torch.testing.assert_close(loss, F.cross_entropy(logits, CLASSES, label_smoothing=0.1) + 0.25)
    assert logged["train/ratio"] == 0.25
    assert logged["train/lr"] == 0.1


def test_mixup_smooths_once() -> None:
    task = Classification(Toy(torch.randn(4, 7)), num_classes=7, label_smoothing=0.1, mixup=0.8, cutmix=1.0)
    assert task.mixup is not None
    assert task.label_smoothing == 0
    _, soft = task.mixup(IMAGES, CLASSES)
    assert soft.shape == (4, 7)
    torch.testing.assert_close(soft.sum(1), torch.ones(4))
    assert soft.min() > 0


def test_a_few_classes_have_no_top_five() -> None:
    task = Classification(Toy(torch.randn(4, 3)), num_classes=3)
    task.val_metrics.update(torch.randn(4, 3), CLASSES)
    assert task.val_metrics.compute()["val/top5"] == 1

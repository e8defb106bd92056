"""Loss and metrics of one class per image."""

import re
from typing import Any

import numpy as np
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


def test_an_odd_batch_cannot_be_mixed() -> None:
    task = Classification(Toy(torch.randn(4, 7)), num_classes=7, mixup=0.8)
    with pytest.raises(ValueError, match=r"a batch of 3 is odd; set datamodule\.batch_size to an even number"):
        task.training_loss((IMAGES[:3], CLASSES[:3]))


def test_a_few_classes_have_no_top_five() -> None:
    task = Classification(Toy(torch.randn(4, 3)), num_classes=3)
    task.val_metrics.update(torch.randn(4, 3), CLASSES)
    assert task.val_metrics.compute()["val/top5"] == 1


def binary(logits: Tensor, targets: Tensor) -> Tensor:
    """- t log p - (1 - t) log (1 - p), a mean over images and classes, in plain torch."""
    p = 1 / (1 + (-logits.double()).exp())
    return -(targets * p.log() + (1 - targets) * (1 - p).log()).mean().float()


@pytest.mark.parametrize("threshold", [None, 0.2])
@pytest.mark.parametrize("mixed", [False, True])
def test_binary_cross_entropy(monkeypatch: pytest.MonkeyPatch, mixed: bool, threshold: float | None) -> None:
    logits = torch.randn(4, 3)
    settings = {"label_smoothing": 0.1, "mixup": 0.8 if mixed else 0.0}
    task = Classification(Toy(logits), 3, loss="bce", target_threshold=threshold, **settings)
    targets = F.one_hot(CLASSES, 3) * 0.9 + 0.1 / 3
    if mixed:  # smoothed by timm's Mixup, and not once more
        targets = torch.tensor([[0.7, 0.3, 0.0], [0.3, 0.0, 0.7], [0.1, 0.1, 0.8], [0.2, 0.8, 0.0]]) * 0.9 + 0.1 / 3
        monkeypatch.setattr(task, "mixup", lambda images, _: (images, targets))
    hard = targets if threshold is None else (targets > threshold).float()
    torch.testing.assert_close(task.training_loss((IMAGES, CLASSES)), binary(logits, hard))
    task = Classification(Toy(logits), 3, loss="bce", target_threshold=threshold, sum_classes=True, **settings)
    monkeypatch.setattr(task, "mixup", (lambda images, _: (images, targets)) if mixed else None)
    torch.testing.assert_close(task.training_loss((IMAGES, CLASSES)), 3 * binary(logits, hard))


def test_binary_cross_entropy_of_what_mixup_makes() -> None:
    """With timm's own Mixup, whose targets are smoothed: the same draw, by hand."""
    logits = torch.randn(4, 3)
    task = Classification(Toy(logits), 3, loss="bce", label_smoothing=0.1, mixup=0.8)
    assert task.mixup is not None
    np.random.seed(3)  # noqa: NPY002 - what timm's Mixup draws from
    found = task.training_loss((IMAGES.clone(), CLASSES))
    np.random.seed(3)  # noqa: NPY002
    np.random.rand()  # noqa: NPY002 - whether to mix
    share = np.random.beta(0.8, 0.8)  # noqa: NPY002
    smoothed = F.one_hot(CLASSES, 3) * 0.9 + 0.1 / 3
    torch.testing.assert_close(found, binary(logits, share * smoothed + (1 - share) * smoothed.flip(0)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "hinge"}, "task.loss=hinge is neither 'bce' nor null"),
        ({"loss": "bce", "target_threshold": 1.5}, "task.target_threshold=1.5 does not lie in"),
        ({"target_threshold": 0.2}, "task.target_threshold=0.2 is for task.loss=bce"),
        ({"sum_classes": True}, "task.sum_classes=True is for task.loss=bce"),
    ],
)
def test_losses_that_do_not_go(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Classification(Toy(torch.randn(4, 3)), 3, **settings)

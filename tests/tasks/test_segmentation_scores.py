"""Semantic segmentation: its loss and its scores."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassJaccardIndex

from atc.tasks.segmentation import Segmentation, intersection_over_union
from tests.dense.test_segmenter import segmenter

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Recorded(nn.Module):
    """Says what it is shown, and answers with the logits of fixed classes by the first channel's value."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(tuple(images.shape))
        return 9.0 * F.one_hot(images[:, 0].long(), 3).permute(0, 3, 1, 2)


def task_with(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> Segmentation:
    task = Segmentation(model, 3)
    for name in ("log", "log_dict"):
        monkeypatch.setattr(task, name, lambda *_, **__: None)
    return task


def test_scores_are_over_labelled_pixels_at_the_size_of_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of several sizes in a batch are seen one by one, without what they were filled up with."""
    model = Recorded()
    task = task_with(model, monkeypatch)
    images = torch.full((2, 3, 32, 64), 2.0)
    images[0, :, :20, :40], images[1, :, :32, :30] = 0, 1
    images[0, :, :20, 20:40] = 1
    labels = [torch.zeros(40, 80, dtype=torch.uint8), torch.full((32, 30), 2, dtype=torch.uint8)]
    labels[0][:10] = 255
    targets = [
        {"labels": labels[0], "size": torch.tensor([20, 40])},
        {"labels": labels[1], "size": torch.tensor([32, 30])},
    ]
    task._evaluate((images, targets), task.test_metrics, "test")
    assert model.sizes == [(1, 3, 20, 40), (1, 3, 32, 30)]
    confusion = np.zeros((3, 3), dtype=int)
    confusion[0, 0] = confusion[0, 1] = 30 * 40
    confusion[2, 1] = 32 * 30
    assert (task.test_confusion.compute().numpy() == confusion).all()
    found = task.test_metrics.compute()
    assert float(found["test/pixel_accuracy"]) == pytest.approx(1200 / (2400 + 960))
    assert float(found["test/miou"]) == pytest.approx((1200 / 2400 + 0 + 0) / 3)
    assert task.test_images.compute().tolist() == [2, 0]


def test_images_of_one_size_are_seen_together(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Recorded()
    target = {"labels": torch.zeros(30, 30, dtype=torch.uint8), "size": torch.tensor([30, 30])}
    task = task_with(model, monkeypatch)
    task._evaluate((torch.zeros(2, 3, 32, 32), [target, target]), task.val_metrics, "val")
    assert model.sizes == [(2, 3, 30, 30)]
    assert float(task.val_metrics.compute()["val/miou"]) == 1
    assert float(task.val_loss.compute()) == pytest.approx(
        float(F.cross_entropy(torch.tensor([[9.0, 0, 0]]), torch.tensor([0])))
    )


def test_an_image_without_labels_counts_in_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_with(Recorded(), monkeypatch)
    nothing = {"labels": torch.full((8, 8), 255, dtype=torch.uint8), "size": torch.tensor([8, 8])}
    some = {"labels": torch.zeros(8, 8, dtype=torch.uint8), "size": torch.tensor([8, 8])}
    task._evaluate((torch.zeros(2, 3, 8, 8), [nothing, some]), task.test_metrics, "test")
    assert float(task.test_metrics.compute()["test/miou"]) == 1
    assert task.test_loss.compute().isfinite()
    loss = task.training_loss((torch.zeros(1, 3, 8, 8), nothing["labels"][None]))
    assert float(loss) == 0


def test_the_loss_is_a_mean_over_labelled_pixels() -> None:
    model = segmenter("atc_average", 0.5).train()
    images = torch.randn(2, 3, 32, 32)
    labels = torch.randint(0, 5, (2, 32, 32), dtype=torch.uint8)
    labels[0, :20] = 255
    task = Segmentation(model, 5)
    torch.manual_seed(0)
    logits, kept = model(images), labels != 255
    expected = -logits.log_softmax(1).gather(1, labels.long().clamp_max(4)[:, None])[:, 0][kept].mean()
    torch.testing.assert_close(task.training_loss((images, labels)), expected)


def test_iou_is_that_of_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, labels = (torch.randint(0, 6, (4000,), generator=generator) for _ in range(2))
    labels[:500] = predicted[:500] = 3
    metric = MulticlassJaccardIndex(8, average="none")
    expected = metric(predicted, labels).tolist()
    found = intersection_over_union(metric.confmat)
    assert found[:6] == pytest.approx(expected[:6])
    assert found[6:] == [None, None]
    mean = MulticlassJaccardIndex(8, average="macro")(predicted, labels)
    assert float(mean) == pytest.approx(sum(expected[:6]) / 6)

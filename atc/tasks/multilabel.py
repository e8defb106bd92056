"""Multi-label classification."""

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelAveragePrecision

from atc.core.metric import Metric
from atc.tasks.average_precision import MeanAveragePrecision
from atc.tasks.losses import asymmetric_loss
from atc.tasks.task import Batch, Task
from atc.values import NotNegative, Share


class Multilabel(Task):
    """Asymmetric loss, plus whatever losses the reducers have; macro mAP.

    Batches are images ``[B, 3, H, W]`` and targets ``[B, labels]`` in {0, 1}. Logs train/loss, val/loss (binary
    cross-entropy, a mean: comparable between losses), val/map as the papers' code defines it and val/map_torchmetrics,
    and under `test_name` the same of a test.

    Args:
        model: images to logits ``[B, labels]``.
        num_classes: how many labels.
        configure: as of `Classification`.
        loss: "asymmetric", see `asymmetric_loss`, or "bce", binary cross-entropy summed likewise.
        gamma_neg: of "asymmetric".
        gamma_pos: likewise.
        clip: likewise.
    """

    metric = Metric("map", "%", 100.0)
    multilabel = True

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        configure: Callable[..., dict[str, Any]] | None = None,
        *,
        loss: Literal["asymmetric", "bce"] = "asymmetric",
        gamma_neg: NotNegative = 4.0,
        gamma_pos: NotNegative = 0.0,
        clip: Share = 0.05,
    ):
        if loss not in ("asymmetric", "bce"):
            raise ValueError(f"task.loss={loss} is neither 'asymmetric' nor 'bce'")
        metrics = {
            "map": MeanAveragePrecision(),
            "map_torchmetrics": MultilabelAveragePrecision(num_classes, average="macro"),
        }
        super().__init__(model, configure, metrics, compute_groups=False)
        self.loss, self.focus = loss, {"gamma_neg": gamma_neg, "gamma_pos": gamma_pos, "clip": clip}

    def training_loss(self, batch: Batch) -> Tensor:
        """The chosen loss, summed over images and labels."""
        images, targets = batch
        logits = self.outputs(images, targets)
        if self.loss == "asymmetric":
            return asymmetric_loss(logits, targets, **self.focus)
        return F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="sum")

    def evaluation_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy."""
        return F.binary_cross_entropy_with_logits(outputs, targets.float())

    def update_metrics(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        """Scores for the papers' mAP, probabilities for that of torchmetrics."""
        metrics["map"].update(outputs, targets)
        metrics["map_torchmetrics"].update(outputs.sigmoid(), targets.long())

"""Multi-label classification."""

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelAveragePrecision

from atc.tasks.average_precision import MeanAveragePrecision
from atc.tasks.classification import Batch, Classification
from atc.tasks.losses import asymmetric_loss
from atc.values import NotNegative, Share


class Multilabel(Classification):
    """Asymmetric loss, plus whatever losses the reducers have; macro mAP.

    model: images to logits [B, labels]; num_classes: how many labels. Batches are images [B, 3, H, W] and targets
    [B, labels] in {0, 1}. loss: "asymmetric" with gamma_neg, gamma_pos and clip, see asymmetric_loss, or "bce",
    binary cross-entropy summed likewise.

    Logs train/loss, val/loss (binary cross-entropy, a mean: comparable between losses), val/map as the papers'
    code defines it and val/map_torchmetrics, and under `test_name` the same of a test.
    """

    selection_metric = "val/map"
    score = "map"
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
        super().__init__(model, num_classes, configure)
        if loss not in ("asymmetric", "bce"):
            raise ValueError(f"task.loss={loss} is neither 'asymmetric' nor 'bce'")
        self.loss, self.focus = loss, {"gamma_neg": gamma_neg, "gamma_pos": gamma_pos, "clip": clip}
        metrics = {
            "map": MeanAveragePrecision(),
            "map_torchmetrics": MultilabelAveragePrecision(num_classes, average="macro"),
        }
        self.val_metrics = MetricCollection(metrics, prefix="val/", compute_groups=False)
        self.test_metrics = self.val_metrics.clone(prefix="test/")

    def training_loss(self, batch: Batch) -> Tensor:
        """The chosen loss, summed over images and labels."""
        images, targets = batch
        logits = self.model(images)
        if self.loss == "asymmetric":
            return asymmetric_loss(logits, targets, **self.focus)
        return F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="sum")

    def _evaluate(self, batch: Batch, metrics: MetricCollection, name: str) -> None:
        images, targets = batch
        logits = self._counted(self.model(images).float(), name)
        metrics["map"].update(logits, targets)
        metrics["map_torchmetrics"].update(logits.sigmoid(), targets.long())
        loss = self.val_loss if name == "val" else self.test_loss
        loss.update(F.binary_cross_entropy_with_logits(logits, targets.float()), len(targets))
        self.log(f"{name}/loss", loss)
        self.log_dict(metrics)

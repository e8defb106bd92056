"""Single-label classification."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from timm.data import Mixup
from timm.loss import BinaryCrossEntropy
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from atc.core.metric import ACCURACY
from atc.tasks.task import Batch, Task
from atc.values import NotNegative, Share


class Classification(Task):
    """Cross-entropy, or a binary one, plus whatever losses the reducers have; top-1 and top-5 accuracy.

    Logs train/loss, val/loss (cross-entropy: comparable between losses), val/accuracy, val/top5, and under
    `test_name` the same of a test. An evaluation with a logit that is not finite raises NotFinite.

    Args:
        model: images to logits ``[B, classes]``.
        num_classes: how many.
        configure: from (model, total_steps, epochs) to what `configure_optimizers` returns; see atc.tasks.optim.
        label_smoothing: share of each target spread over all classes.
        mixup: timm's alpha, 0 = off.
        cutmix: likewise.
        loss: None for cross-entropy; "bce" for timm's binary cross-entropy of every class against all others, a mean
            over images and classes.
        target_threshold: of "bce": 1 of what a mixed or smoothed target has more of, and 0 of the rest; None: targets
            stay soft.
        sum_classes: of "bce": add over classes instead (arXiv 2110.00476).

    Raises:
        ValueError: another loss, a threshold or a smoothing out of range, or settings of a loss that is not chosen; and
            in training an odd number of images that are to be mixed.
    """

    metric = ACCURACY

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        configure: Callable[..., dict[str, Any]] | None = None,
        *,
        label_smoothing: Share = 0.0,
        mixup: NotNegative = 0.0,
        cutmix: NotNegative = 0.0,
        loss: Literal["bce"] | None = None,
        target_threshold: Annotated[float, "[0, 1)"] | None = None,
        sum_classes: bool | None = None,
    ):
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"task.label_smoothing={label_smoothing} does not lie in [0, 1]")
        metrics = {
            "accuracy": MulticlassAccuracy(num_classes, average="micro"),
            "top5": MulticlassAccuracy(num_classes, top_k=min(5, num_classes), average="micro"),
        }
        super().__init__(model, configure, metrics)
        self.label_smoothing, self.mixup = label_smoothing, None
        if mixup > 0 or cutmix > 0:
            self.mixup = Mixup(mixup, cutmix, label_smoothing=label_smoothing, num_classes=num_classes)
            self.label_smoothing = 0.0  # timm's Mixup smooths the targets it makes
        self.bce = _binary(loss, self.label_smoothing, target_threshold, sum_classes)

    def training_loss(self, batch: Batch) -> Tensor:
        """The task's own part of the loss, without what reducers add."""
        self.check_batch(len(batch[0]))
        images, classes = batch if self.mixup is None else self.mixup(*batch)
        logits = self.outputs(images, classes)
        if self.bce is not None:
            return self.bce(logits.float() if logits.dtype != torch.float64 else logits, classes)
        return F.cross_entropy(logits, classes, label_smoothing=self.label_smoothing)

    def check_batch(self, images: int) -> None:
        """ValueError for a number of images per batch that the task cannot train on."""
        if self.mixup is not None and images % 2:
            raise ValueError(
                f"task.mixup and task.cutmix pair images: a batch of {images} is odd; set datamodule.batch_size to an "
                f"even number of at most the training pictures"
            )

    def evaluation_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(outputs, targets)


def _binary(
    loss: str | None, smoothing: float, target_threshold: float | None, sum_classes: bool | None
) -> BinaryCrossEntropy | None:
    """Timm's loss, if it is the one chosen."""
    if loss is None:
        for name, value in (("target_threshold", target_threshold), ("sum_classes", sum_classes)):
            if value is not None:
                raise ValueError(f"task.{name}={value} is for task.loss=bce, and task.loss is null: cross-entropy")
        return None
    if loss != "bce":
        raise ValueError(f"task.loss={loss} is neither 'bce' nor null, which is cross-entropy")
    if target_threshold is not None and not 0 <= target_threshold < 1:
        raise ValueError(f"task.target_threshold={target_threshold} does not lie in [0, 1)")
    return BinaryCrossEntropy(smoothing, target_threshold, sum_classes=bool(sum_classes))

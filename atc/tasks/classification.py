"""Single-label classification."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from lightning import LightningModule
from timm.data import Mixup
from timm.loss import BinaryCrossEntropy
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from atc.tasks.evaluated import Evaluated, counts
from atc.tasks.finite import StopNotFinite
from atc.tasks.optim import training_length
from atc.values import NotNegative, Share

Batch = tuple[Tensor, Tensor]  # images [B, 3, H, W], classes [B] int64


class Classification(LightningModule):
    """Cross-entropy, or a binary one, plus whatever losses the reducers have; top-1 and top-5 accuracy.

    model: images to logits [B, classes]; num_classes: how many.
    configure: from (model, total_steps, epochs) to what `configure_optimizers` returns; see atc.tasks.optim.
    label_smoothing: share of each target spread over all classes; mixup, cutmix: timm's alphas, 0 = off.
    loss: None for cross-entropy; "bce" for timm's binary cross-entropy of every class against all others, a mean over
    images and classes. With it, target_threshold makes 1 of what a mixed or smoothed target has more of, and 0 of the
    rest (None: targets stay soft), and sum_classes adds over classes instead (arXiv 2110.00476).
    ValueError for another loss, a threshold or a smoothing out of range, or settings of a loss that is not chosen; and
    in training for an odd number of images that are to be mixed.

    Logs train/loss, val/loss (cross-entropy: comparable between losses), val/accuracy, val/top5, and under
    `test_name` the same of a test. An evaluation with a logit that is not finite raises NotFinite.
    """

    selection_metric = "val/accuracy"  # higher is better
    score = "accuracy"  # the metric a summary shows
    multilabel = False  # targets are classes, not rows of labels

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
        super().__init__()
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"task.label_smoothing={label_smoothing} does not lie in [0, 1]")
        self.model, self.configure = model, configure
        self.label_smoothing, self.mixup = label_smoothing, None
        if mixup > 0 or cutmix > 0:
            self.mixup = Mixup(mixup, cutmix, label_smoothing=label_smoothing, num_classes=num_classes)
            self.label_smoothing = 0.0  # timm's Mixup smooths the targets it makes
        self.bce = _binary(loss, self.label_smoothing, target_threshold, sum_classes)
        metrics = {
            "accuracy": MulticlassAccuracy(num_classes, average="micro"),
            "top5": MulticlassAccuracy(num_classes, top_k=min(5, num_classes), average="micro"),
        }
        self.val_metrics = MetricCollection(metrics, prefix="val/")
        self.test_metrics = self.val_metrics.clone(prefix="test/")
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()
        self.val_images, self.test_images = Evaluated(), Evaluated()
        self.images: dict[str, dict[str, int]] = {}  # behind the last validation, under "val", and behind each test
        self.test_name = "test"
        self._configured: dict[str, Any] = {}
        self.began = False  # whether a batch has been trained on

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The loss of one batch."""
        self.began = True
        loss = self.training_loss(batch)
        extra: dict[str, Tensor] = self.model.losses() if hasattr(self.model, "losses") else {}
        for name, value in extra.items():
            self.log(f"train/{name}", value)
            loss = loss + value
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    def training_loss(self, batch: Batch) -> Tensor:
        """The task's own part of the loss, without what reducers add."""
        self.check_batch(len(batch[0]))
        images, classes = batch if self.mixup is None else self.mixup(*batch)
        logits = self.model(images)
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

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss and metrics on held-out images."""
        self._evaluate(batch, self.val_metrics, "val")

    def test_step(self, batch: Batch, index: int) -> None:
        """Loss and metrics on test images."""
        self.test_metrics.prefix = f"{self.test_name}/"
        self._evaluate(batch, self.test_metrics, self.test_name)

    def _evaluate(self, batch: Batch, metrics: MetricCollection, name: str) -> None:
        images, classes = batch
        logits = self._counted(self.model(images).float(), name)
        metrics.update(logits, classes)
        loss = self.val_loss if name == "val" else self.test_loss
        loss.update(F.cross_entropy(logits, classes), len(classes))  # a mean over images, on however many devices
        self.log(f"{name}/loss", loss)
        self.log_dict(metrics)

    def _counted(self, logits: Tensor, name: str) -> Tensor:
        (self.val_images if name == "val" else self.test_images).update(logits)
        return logits

    def on_validation_epoch_start(self) -> None:
        """Count anew."""
        self.val_images.reset()

    def on_test_epoch_start(self) -> None:
        """Count anew."""
        self.test_images.reset()

    def on_validation_epoch_end(self) -> None:
        """How many images it was over. NotFinite if a logit or the loss is not finite."""
        self.images["val"] = counts("validation", self.val_images, self.val_loss, self.trainer.val_dataloaders)

    def on_test_epoch_end(self) -> None:
        """How many images it was over. NotFinite if a logit or the loss is not finite."""
        loaders = self.trainer.test_dataloaders
        self.images[self.test_name] = counts(self.test_name, self.test_images, self.test_loss, loaders)

    def setup(self, stage: str) -> None:
        """Optimiser and schedule over as many updates as the trainer will make.

        Before a strategy flattens the parameters, as FSDP does: which of them decay depends on their shapes.
        """
        if stage == "fit":
            assert self.configure is not None, "a Classification without `configure` can only be tested"
            self._configured = self.configure(self.model, *training_length(self.trainer))

    def configure_optimizers(self) -> dict[str, Any]:
        """What `setup` made."""
        return self._configured

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Never weights that are not finite."""
        if "callbacks" not in checkpoint:  # which hear nothing of a checkpoint of the weights alone
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]  # not in Lightning's types
                if isinstance(callback, StopNotFinite):
                    callback.before_saving(self.trainer, self)
        checkpoint["images"] = dict(self.images)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Rates are those of this run's settings and length: timm's schedulers would load the settings as well."""
        checkpoint["lr_schedulers"] = [{} for _ in checkpoint.get("lr_schedulers", [])]
        self.images |= checkpoint.get("images", {})

    def on_train_start(self) -> None:
        """The rate for the next update, where a resume begins."""
        found = self._configured.get("lr_scheduler")
        if found is not None and self.global_step:
            found["scheduler"].step_update(self.global_step)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """timm's schedulers count updates themselves."""
        scheduler.step_update(self.global_step)


def _binary(
    loss: str | None, smoothing: float, target_threshold: float | None, sum_classes: bool | None
) -> BinaryCrossEntropy | None:
    """timm's loss, if it is the one chosen."""
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

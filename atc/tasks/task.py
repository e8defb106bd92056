"""What every task has in common: training, validation and test of a model, and what of it is recorded."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torchmetrics
from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection

from atc.core.metric import Metric
from atc.tasks import teacher as teachers
from atc.tasks.evaluated import Evaluated, counts
from atc.tasks.finite import StopNotFinite
from atc.tasks.optim import training_length
from atc.tasks.predictions import Predictions
from atc.tasks.teacher import Teacher
from atc.vit.reducer_losses import with_total

Batch = tuple[Tensor, Tensor]  # images [B, 3, H, W] and their targets


class Task(LightningModule):
    """Trains and evaluates a model by a loss and metrics, plus whatever losses the reducers have.

    A subclass says what its score is (`metric`), computes losses and feeds the metrics. Logs train/loss, val/loss,
    val/METRIC for every metric, and under `test_name` the same of a test. An evaluation with an output that is not
    finite raises NotFinite.

    Args:
        model: from images to outputs ``[B, ...]``.
        configure: from (model, total_steps, epochs) to what `configure_optimizers` returns; see atc.tasks.optim.
        metrics: by the names under which they are logged; `metric.name` is one of them.
        compute_groups: as in `torchmetrics.MetricCollection`.

    Attributes:
        metric: what epochs are selected by and a summary shows; a subclass sets it, and with it `score`, its name, and
            `selection_metric`, under which it is logged.
        test_predictions: keeps what a test says of each image, for a file; None: nothing does.
        teacher: what reducers with a loss may learn from; None without one.
        multilabel: whether targets are rows of labels; of no concern to tasks other than classification.
    """

    metric: ClassVar[Metric]
    score: ClassVar[str]
    selection_metric: ClassVar[str]
    multilabel = False

    def __init_subclass__(cls, **settings: Any) -> None:
        """Let `score` and `selection_metric` follow from the `metric` of a task."""
        super().__init_subclass__(**settings)
        if "metric" in cls.__dict__:
            cls.score, cls.selection_metric = cls.metric.name, f"val/{cls.metric.name}"

    def __init__(
        self,
        model: nn.Module,
        configure: Callable[..., dict[str, Any]] | None,
        metrics: Mapping[str, torchmetrics.Metric],
        *,
        compute_groups: bool = True,
    ):
        super().__init__()
        self.model, self.configure = model, configure
        self.val_metrics = MetricCollection(dict(metrics), prefix="val/", compute_groups=compute_groups)
        self.test_metrics = self.val_metrics.clone(prefix="test/")
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()
        self.val_images, self.test_images = Evaluated(), Evaluated()
        self.test_predictions: Predictions | None = None
        self.images: dict[str, dict[str, int]] = {}  # behind the last validation, under "val", and behind each test
        self.test_name = "test"
        self._configured: dict[str, Any] = {}
        self._latest: Batch | None = None  # what the model was trained on last
        self.teacher: Teacher | None = None
        self.replayed: Callable[[Tensor], Tensor] | None = None  # what an evaluation calls in place of the model
        self.began = False  # whether a batch has been trained on

    @abstractmethod
    def training_loss(self, batch: Batch) -> Tensor:
        """The task's own part of the loss of a batch, without what reducers add."""

    def outputs(self, images: Tensor, targets: Tensor) -> Tensor:
        """The model's outputs in training; what its reducers learn from is of these images and targets."""
        self._latest = images, targets
        return self.model(images)

    def scores(self, images: Tensor) -> Tensor:
        """The outputs ``[B, ...]`` that an evaluation is about."""
        return self.evaluated(images)

    def evaluated(self, images: Tensor) -> Tensor:
        """What the model returns in an evaluation: itself, or what replays it."""
        return self.model(images) if self.replayed is None else self.replayed(images)

    @abstractmethod
    def evaluation_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of an evaluation, a mean over images: comparable between the losses of trainings."""

    def update_metrics(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        """Show the metrics the outputs for a batch, in float32."""
        metrics.update(outputs, targets)

    @classmethod
    def metric_named(cls, score: str) -> Metric:
        """The metric of a name that this task logs: its own, a loss, or one with the unit of its own."""
        if score == "loss":
            return Metric("loss", higher_is_better=False)
        return cls.metric if score == cls.metric.name else cls.metric._replace(name=score)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The loss of one batch."""
        self.began = True
        loss = self.training_loss(batch)
        known = teachers.known(self.model, self._latest, self.teacher, self.multilabel)
        model: Any = self.model
        extra: dict[str, Tensor] = model.losses(**known) if hasattr(model, "losses") else {}
        self._latest = None
        for name, value in extra.items():
            self.log(f"train/{name}", value)
        loss = with_total(loss, extra, getattr(model, "loss_weights", {}))["total"]
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss and metrics on held-out images."""
        self._evaluate(batch, self.val_metrics, "val")

    def test_step(self, batch: Batch, index: int) -> None:
        """Loss and metrics on test images."""
        self.test_metrics.prefix = f"{self.test_name}/"
        outputs = self._evaluate(batch, self.test_metrics, self.test_name)
        if self.test_predictions is not None and outputs is not None:
            self.test_predictions.update(index, outputs, batch[1])

    def _evaluate(self, batch: Batch, metrics: MetricCollection, name: str) -> Tensor | None:
        images, targets = batch
        outputs = self._counted(self.scores(images).float(), name)
        self.update_metrics(metrics, outputs, targets)
        loss = self.val_loss if name == "val" else self.test_loss
        # A mean over images, on however many devices
        loss.update(self.evaluation_loss(outputs, targets), len(targets))
        self.log(f"{name}/loss", loss)
        self.log_dict(metrics)
        return outputs

    def _counted(self, logits: Tensor, name: str) -> Tensor:
        (self.val_images if name == "val" else self.test_images).update(logits)
        return logits

    def on_validation_epoch_start(self) -> None:
        """Count anew."""
        self.val_images.reset()

    def on_test_epoch_start(self) -> None:
        """Count anew."""
        self.test_images.reset()
        if self.test_predictions is not None:
            self.test_predictions.begin(self.trainer.test_dataloaders)

    def on_validation_epoch_end(self) -> None:
        """How many images it was over. NotFinite if a logit or the loss is not finite."""
        self.images["val"] = counts(
            "validation", self.val_images, self.val_loss, self.trainer.val_dataloaders, self.model
        )

    def on_test_epoch_end(self) -> None:
        """How many images it was over. NotFinite if a logit or the loss is not finite."""
        loaders = self.trainer.test_dataloaders
        self.images[self.test_name] = counts(self.test_name, self.test_images, self.test_loss, loaders, self.model)
        if self.test_predictions is not None:
            found = self.test_predictions.compute()  # of all processes
            if self.trainer.is_global_zero:
                self.test_predictions.write(Path(self.trainer.default_root_dir), self.test_name, found)

    def setup(self, stage: str) -> None:
        """Optimiser and schedule over as many updates as the trainer will make.

        Before a strategy flattens the parameters, as FSDP does: which of them decay depends on their shapes.
        """
        if stage == "fit":
            assert self.configure is not None, "a task without `configure` can only be tested"
            self._configured = self.configure(self.model, *training_length(self.trainer))

    def configure_optimizers(self) -> Any:  # one of the many forms that Lightning takes
        """What `setup` made."""
        return self._configured

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Never weights that are not finite."""
        if "callbacks" not in checkpoint:  # which are not called for a checkpoint of the weights alone
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
        """Tell the scheduler the number of the update: those of timm count updates themselves."""
        scheduler.step_update(self.global_step)

"""The moving average of the weights beside the weights themselves, and the better of the two."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torchmetrics import MetricCollection

from atc.values import Share


class RawOrAveraged(EMAWeightAveraging):
    """Validates the exponential moving average of the weights and the weights as trained; notes which are better.

    Logs val/SCORE and whatever else the task logs for the average, val/SCORE_raw for the weights as trained, and
    val/SCORE_best, the better one, to select the epoch by. A checkpoint says in "averaged_best" which one that was.

    Args:
        score: a metric of the task.
        decay: of the average, which starts from the weights that training starts from, as timm's ModelEmaV2 and so the
            DeiT recipes have it (Lightning's own starts after the first update).
        **settings: as of Lightning's EMAWeightAveraging.
    """

    def __init__(self, score: str, decay: Share, **settings: Any):
        super().__init__(decay=decay, **settings)
        self.score, self.averaged_best = score, True
        self._raw: Any = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the average.

        Raises:
            ValueError: the score is none of the metrics that are computed for both sets of weights, or the task's
                metrics are not of logits.
        """
        if getattr(pl_module, "segmentation", False):
            raise ValueError(
                "callbacks=raw_or_ema compares logits with targets as they are, and task=segmentation scales them "
                "first: callbacks=ema"
            )
        metrics = [str(name) for name in _metrics(pl_module).keys(keep_base=True)]
        if self.score not in metrics:
            raise ValueError(
                f"callbacks=raw_or_ema compares two sets of weights by a metric: score={self.score} must be one of "
                f"{', '.join(metrics)}"
            )
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            assert self._average_model is not None
            self._average_model.n_averaged.fill_(1)  # at 0, the first update would replace what it starts from

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average in the model's place, and the weights as trained in the average's."""
        super().on_validation_epoch_start(trainer, pl_module)
        if self._average_model is not None:
            self._average_model.eval()
            self._raw = _metrics(pl_module)[self.score].clone()
            self._raw.reset()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """The same images once more."""
        if self._average_model is not None:
            images, targets = batch
            averaged: Any = self._average_model.module
            with trainer.precision_plugin.val_step_context():
                logits = averaged.model(images)
            self._raw.update(logits.float(), targets)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare, and put everything back in its place."""
        if self._average_model is not None:
            averaged = _metrics(pl_module)[self.score].compute()
            raw = self._raw.compute()
            metric = pl_module.metric_named(self.score)  # type: ignore[operator]  # a task
            self.averaged_best = bool(metric.better(averaged, raw))
            pl_module.log(f"val/{self.score}_raw", raw, sync_dist=True)  # equal in all processes already
            pl_module.log(f"val/{self.score}_best", metric.best([averaged, raw]), prog_bar=True, sync_dist=True)
        super().on_validation_epoch_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """For a resume."""
        return {**super().state_dict(), "averaged_best": self.averaged_best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """For a resume."""
        super().load_state_dict(state_dict)
        self.averaged_best = state_dict["averaged_best"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Both sets of weights, and which of them validated better."""
        # A run that is stopped is saved right after an update, possibly before the average has heard of it.
        step = trainer.global_step
        if self._average_model is not None and step > self._latest_update_step and self.should_update(step - 1):
            self._average_model.update_parameters(pl_module)
            self._latest_update_step = step
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        checkpoint["averaged_best"] = self.averaged_best


def _metrics(task: Any) -> MetricCollection:
    return task.val_metrics

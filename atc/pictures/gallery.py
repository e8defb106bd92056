"""Pictures of clustered images in the log of a run, as training goes on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from timm.data import resolve_model_data_config
from torch import Tensor

from atc.core import Trace
from atc.pictures import drawing
from atc.pictures.figure import Snapshot
from atc.pictures.photo import unnormalised
from atc.pictures.regions import Pixels
from atc.pictures.snapshots import snapshots
from atc.values import Count, Whole

_SIDE = 224  # least length of a picture's longer side in pixels
_GAP = 8


class Gallery(Callback):
    """Shows the first images of each validation, and of each test, before and after every reduction.

    Goes to every logger that takes pictures (`log_image`: W&B), as "clusters/val" or "clusters/" and the name of the
    test, and costs no forward pass: it draws the trace that the first batch left. A model that reduces nothing has
    none.

    Args:
        images: how many; 0 = none.
        every_n_epochs: validations of other epochs are not shown.
        stages: at most so many reductions, evenly chosen, the last among them.
    """

    def __init__(self, images: Whole = 8, every_n_epochs: Count = 1, stages: Count = 4):
        for name, value, least in (("images", images, 0), ("every_n_epochs", every_n_epochs, 1), ("stages", stages, 1)):
            if value < least:
                raise ValueError(f"callbacks.gallery.{name}={value} must be {least} or more")
        self.images, self.every_n_epochs, self.stages = images, every_n_epochs, stages

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """The first batch of a validation that is shown."""
        if batch_idx == 0 and not trainer.sanity_checking and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._show(trainer, pl_module, batch[0], "val")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """The first batch of a test."""
        if batch_idx == 0:
            self._show(trainer, pl_module, batch[0], str(pl_module.test_name))

    def _show(self, trainer: Trainer, pl_module: LightningModule, images: Tensor, name: str) -> None:
        model: Any = pl_module.model
        loggers = [logger for logger in trainer.loggers if hasattr(logger, "log_image")]
        if not (loggers and self.images and trainer.is_global_zero and getattr(model, "trace", None)):
            return
        images, shown = images[: self.images], self._chosen(model.trace)
        photos = unnormalised(images, resolve_model_data_config(model.host.model))
        grid = model.host.grid(images)
        strips, captions = [], []
        for index, photo in enumerate(photos):
            stages = snapshots(model.trace, index)
            stages = [stages[number] for number in shown]
            strips.append(strip(photo, stages, grid))
            tokens = ", ".join(str(stage.tokens) for stage in stages)
            captions.append(f"{tokens} tokens after blocks {', '.join(str(stage.block) for stage in stages)}")
        for logger in loggers:
            logger.log_image(f"clusters/{name}", strips, step=trainer.global_step, caption=captions)

    def _chosen(self, trace: Trace) -> list[int]:
        shown = min(self.stages, len(trace))
        return [len(trace) * number // shown - 1 for number in range(1, shown + 1)]


def strip(photo: Pixels, stages: Sequence[Snapshot], grid: tuple[int, int]) -> Pixels:
    """The photograph [H, W, 3] and, beside it, what each of the reductions leaves of it."""
    photo = drawing.enlarged(photo, grid, _SIDE)
    pictures = [
        drawing.outlined(drawing.detailed(photo, stage.source, grid), stage.source, grid)
        if stage.shares is None
        else drawing.mixed(photo, stage.shares, grid)
        for stage in stages
    ]
    gap = np.full((photo.shape[0], _GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([photo, *(part for picture in pictures for part in (gap, picture))], axis=1)

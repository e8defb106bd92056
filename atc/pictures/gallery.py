"""Pictures of clustered images in the log of a run, as training goes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from PIL import Image
from timm.data import resolve_model_data_config
from torch import Tensor

from atc.core import Trace
from atc.files import whole_file
from atc.pictures import detections, drawing
from atc.pictures.photo import unnormalised
from atc.pictures.regions import Pixels
from atc.pictures.snapshots import Snapshot, snapshots
from atc.values import Count, Share, Whole

FOLDER = "pictures"  # in the directory of a run
_SIDE = 224  # least length of a picture's longer side in pixels
_GAP = 8


class Gallery(Callback):
    """Shows the first images of each validation, and of each test, before and after every reduction.

    Goes to every logger that takes pictures (`log_image`: W&B), as "clusters/val" or "clusters/" and the name of the
    test, and costs no forward pass: it draws the trace that the evaluation left. A model that reduces nothing has
    none. Of a detector each image is shown with what is annotated and with what is found, too, whether it reduces or
    not, as "objects/val"; and what was shown last lies in the directory of the run, in pictures/val.png and the like.

    Args:
        images: how many; 0 = none. For a classifier those of one batch, at most.
        every_n_epochs: validations of other epochs are not shown.
        stages: at most so many reductions, evenly chosen, the last among them.
        threshold: of a detector, the least score of what is drawn.
    """

    def __init__(self, images: Whole = 8, every_n_epochs: Count = 1, stages: Count = 4, threshold: Share = 0.5):
        for name, value, least in (("images", images, 0), ("every_n_epochs", every_n_epochs, 1), ("stages", stages, 1)):
            if value < least:
                raise ValueError(f"callbacks.gallery.{name}={value} must be {least} or more")
        self.images, self.every_n_epochs, self.stages, self.threshold = images, every_n_epochs, stages, threshold
        self.rows: list[detections.Shown] = []  # of the evaluation so far

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with no row."""
        self._begin(trainer, pl_module, self._is_shown(trainer))

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with no row."""
        self._begin(trainer, pl_module, True)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """The first batch of a validation that is shown; of a detector, as many as it takes."""
        if self._is_shown(trainer):
            self._see(trainer, pl_module, batch, batch_idx, "val")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """The first batch of a test; of a detector, as many as it takes."""
        self._see(trainer, pl_module, batch, batch_idx, str(pl_module.test_name))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the rows that a detector has left."""
        self._show_rows(trainer, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the rows that a detector has left."""
        self._show_rows(trainer, str(pl_module.test_name))

    def _is_shown(self, trainer: Trainer) -> bool:
        return not trainer.sanity_checking and (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def _begin(self, trainer: Trainer, task: Any, shown: bool) -> None:
        self.rows = []
        if getattr(task, "detection", False):
            task.keeps_found = shown and self.images > 0 and trainer.is_global_zero

    def _see(self, trainer: Trainer, task: Any, batch: Any, batch_idx: int, name: str) -> None:
        if getattr(task, "detection", False):
            self._add_rows(task, batch, name)
        elif batch_idx == 0:
            self._show_clusters(trainer, task, batch[0], name)

    def _show_clusters(self, trainer: Trainer, task: Any, images: Tensor, name: str) -> None:
        model = task.model
        loggers = [logger for logger in trainer.loggers if hasattr(logger, "log_image")]
        if not (loggers and self.images and trainer.is_global_zero and getattr(model, "trace", None)):
            return
        if getattr(model, "looked_at", None) is not None:  # of a model that sees images part by part
            images = model.looked_at
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

    def _add_rows(self, task: Any, batch: Any, name: str) -> None:
        if not task.keeps_found:
            return
        stages = self._chosen(task.model.trace)
        made = detections.rows(
            task.model,
            batch,
            task.found,
            task.annotations(name),
            task.categories(name),
            stages=stages,
            threshold=self.threshold,
        )
        self.rows = (self.rows + made)[: self.images]
        task.keeps_found = len(self.rows) < self.images

    def _show_rows(self, trainer: Trainer, name: str) -> None:
        rows, self.rows = self.rows, []
        if not rows:
            return
        pictures, captions = [row.picture for row in rows], [row.caption for row in rows]
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image(f"objects/{name}", pictures, step=trainer.global_step, caption=captions)
        file = Path(trainer.default_root_dir) / FOLDER / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as stream:
            Image.fromarray(detections.below(pictures)).save(stream, format="PNG")

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

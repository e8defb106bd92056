"""Semantic segmentation: a label for each pixel, scored by the mean intersection over union."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassJaccardIndex

from atc.core import Schedule, Stages
from atc.core.metric import Metric
from atc.dense.segmenter import Segmenter
from atc.files import json_text, write_whole
from atc.tasks.task import Batch, Task
from atc.values import Count
from atc.vit.images import data_config
from atc.vit.reduced import ReducedViT, ReducerFactory

IGNORED = 255  # the label of pixels that count neither in a loss nor in a score


class Segmentation(Task):
    """Trains a segmenter by cross-entropy; mean intersection over union (mIoU) and pixel accuracy.

    Batches to train on are images ``[B, 3, H, W]`` and labels ``[B, H, W]``. In an evaluation targets are a list of
    dictionaries: `labels` ``[h, w]`` of the file's image, and `size`, the height and width of the image within the
    batch. Logits are interpolated to the labels' size, on which scores are computed, over all pixels but those labelled
    255. A class that neither occurs nor is predicted is left out of the mean.

    Logs train/loss, val/loss, val/miou, val/pixel_accuracy, and under `test_name` the same of a test. A test leaves
    these and the IoU of each class in the directory of the run: segmentation_NAME.json, null for a class left out.

    Args:
        model: the segmenter.
        num_classes: with the background where it is a class.
        configure: from (model, total_steps, epochs) to what `configure_optimizers` returns; see atc.tasks.optim.
        checkpoint: a segmenter to start a training from. (The run loads it; it is not read here.)
        frozen: train the head alone. (The configuration builds such a model; it is not read here.)
        window: see `Segmenter`. (Likewise.)
        stride: see `Segmenter`. (Likewise.)

    Raises:
        ValueError: a frozen backbone whose method would have to be trained.
    """

    metric = Metric("miou", "%", 100.0)
    segmentation = True

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        configure: Callable[..., dict[str, Any]] | None = None,
        *,
        checkpoint: os.PathLike[str] | None = None,
        frozen: bool = False,
        window: Count | None = None,
        stride: Count | None = None,
    ):
        metrics = {
            "miou": MulticlassJaccardIndex(num_classes, average="macro", ignore_index=IGNORED),
            "pixel_accuracy": MulticlassAccuracy(num_classes, average="micro", ignore_index=IGNORED),
        }
        super().__init__(model, configure, metrics, compute_groups=False)
        self.test_confusion = MulticlassConfusionMatrix(num_classes, ignore_index=IGNORED)
        method: Any = getattr(model, "method", None)
        if configure is not None and frozen and getattr(method, "needs_training", False):
            raise ValueError(
                f"task.frozen=true trains the head alone, and {method.__name__} learns layers in the backbone: "
                f"task.frozen=false"
            )

    @staticmethod
    def build_models(
        vit: nn.Module,
        num_classes: int,
        reducer: ReducerFactory,
        schedule: Schedule,
        *,
        proportional_attention: bool | None = None,
        size_weighted: bool | None = None,
        window: int | None = None,
        stride: int | None = None,
        frozen: bool = False,
        **unused: Any,
    ) -> tuple[nn.Module, nn.Module]:
        """The segmenter around a backbone, and the same with all its tokens; every parameter is shared.

        Args:
            vit: the backbone.
            num_classes: with the background where it is a class.
            reducer: the method, as a configuration makes it.
            schedule: how many tokens are left where.
            proportional_attention: see `ReducedViT`.
            size_weighted: likewise.
            window: see `Segmenter`; None: the size that the backbone takes.
            stride: see `Segmenter`.
            frozen: see `Segmenter`.
            **unused: settings that say nothing here.
        """
        from atc.config.build import find_reducer

        side = window or int(min(data_config(vit)["input_size"][-2:]))
        reduced = ReducedViT(vit, reducer, schedule, proportional_attention, size_weighted)
        model = Segmenter(reduced, num_classes, side, stride, frozen=frozen)
        dense = ReducedViT(vit, find_reducer("none"), Stages(1.0, (1,)))
        return model, Segmenter(dense, num_classes, side, stride, frozen=frozen, head=model.linear_head)

    def training_loss(self, batch: Batch) -> Tensor:
        """Cross-entropy, a mean over the pixels that have a label; 0 where none has."""
        images, labels = batch
        logits = self.model(images)
        total = F.cross_entropy(logits, labels.long(), ignore_index=IGNORED, reduction="sum")
        return total / (labels != IGNORED).sum().clamp_min(1)

    def evaluation_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, a mean over the pixels that have a label."""
        return F.cross_entropy(outputs, targets.long(), ignore_index=IGNORED)

    def _evaluate(self, batch: Any, metrics: Any, name: str) -> None:
        images, targets = batch
        loss = self.val_loss if name == "val" else self.test_loss
        for logits, target in self._seen(images, targets):
            labels = target["labels"]
            self._counted(logits[None].flatten(1), name)
            outputs = F.interpolate(logits[None], labels.shape, mode="bilinear", align_corners=False)
            predicted, there = outputs.argmax(dim=1), labels[None].long()
            metrics.update(predicted, there)
            if name != "val":
                self.test_confusion.update(predicted, there)
            if bool((there != IGNORED).any()):
                loss.update(self.evaluation_loss(outputs, there))
        self.log(f"{name}/loss", loss, batch_size=len(images))
        self.log_dict(metrics, batch_size=len(images))

    def _seen(self, images: Tensor, targets: Sequence[Mapping[str, Tensor]]) -> Iterator[tuple[Tensor, Any]]:
        """Logits [K, h, w] of each image without what it was filled up with, and its target."""
        sizes = [tuple(int(side) for side in target["size"]) for target in targets]
        if len(set(sizes)) == 1:
            height, width = sizes[0]
            yield from zip(self.scores(images[..., :height, :width]).float(), targets, strict=True)
            return
        for image, (height, width), target in zip(images, sizes, targets, strict=True):
            yield self.scores(image[None, :, :height, :width]).float()[0], target

    def on_test_epoch_start(self) -> None:
        """Count anew."""
        super().on_test_epoch_start()
        self.test_confusion.reset()

    def on_test_epoch_end(self) -> None:
        """How many images it was over, and write the IoU of each class. NotFinite if a logit is not finite."""
        super().on_test_epoch_end()
        confusion = self.test_confusion.compute()  # of all processes
        trainer: Any = self.trainer
        if trainer.is_global_zero:
            names = [str(name) for name in trainer.datamodule.classes]
            found = {
                "miou": _mean(intersection_over_union(confusion)),
                "pixel_accuracy": float(confusion.diag().sum() / confusion.sum()),
                "iou": dict(zip(names, intersection_over_union(confusion), strict=True)),
                **self.images[self.test_name],
            }
            write_whole(Path(trainer.default_root_dir) / f"segmentation_{self.test_name}.json", json_text(found))


def intersection_over_union(confusion: Tensor) -> list[float | None]:
    """The IoU of each class, in 0..1.

    Args:
        confusion: int64 ``[K, K]``, pixels of a class (rows) that were given to a class (columns).

    Returns:
        By class; None for one that neither occurs nor is predicted.

    Examples:
        >>> import torch
        >>> intersection_over_union(torch.tensor([[2, 1, 0], [1, 0, 0], [0, 0, 0]]))
        [0.5, 0.0, None]
    """
    both = confusion.diag()
    either = confusion.sum(0) + confusion.sum(1) - both
    return [hit / of if of else None for hit, of in zip(both.tolist(), either.tolist(), strict=True)]


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None

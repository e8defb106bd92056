"""Detection: objects with boxes and masks, scored as COCO does."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from atc.core.metric import Metric
from atc.dense import categories, ground_truth
from atc.dense.build_detector import build_detector
from atc.dense.coco_evaluation import Kind, check_installed, detections_of, evaluate
from atc.files import json_text, write_whole
from atc.tasks.detection_recipe import rate_notice
from atc.tasks.finite import NotFinite, causes
from atc.tasks.task import Batch, Task


class Detection(Task):
    """Trains a detector by the sum of its losses; COCO's twelve numbers for boxes, and for masks.

    Batches are images ``[B, 3, H, W]``, padded, and a list of targets, as `atc.dense.detector.Detector` takes them.
    Logs train/loss and its parts, val/map_box, val/map_mask and the other numbers, and under `test_name` the same of a
    test. A test leaves its detections, in COCO's format of results, and all numbers with AP per class, in the
    directory of the run: detections_NAME.json and coco_NAME.json. There is no loss of an evaluation.

    Args:
        model: the detector.
        num_classes: kinds of objects, without a background.
        configure: from (model, total_steps, epochs, batch) to what `configure_optimizers` returns; see
            atc.tasks.detection_recipe.
        checkpoint: a detector to start a training from. (The run loads it; it is not read here.)
        detector: of `atc.dense.detector.build_detector`, its arguments for the parts of the detector. (The
            configuration builds it; it is not read here.)
    """

    metric = Metric("map_box", "points", 100.0)
    detection = True

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        configure: Callable[..., dict[str, Any]] | None = None,
        *,
        checkpoint: os.PathLike[str] | None = None,
        detector: Mapping[str, Any] | None = None,
    ):
        super().__init__(model, configure, {})
        check_installed()
        self.num_classes = num_classes
        self.rows: list[dict[str, Any]] = []  # detections of the evaluation so far
        self.seen: list[int] = []  # the images they are of
        self.masks = True
        self.keeps_found = False  # whether `found` is kept, for what draws it
        self.found: list[dict[str, Tensor]] = []  # of the latest batch of an evaluation
        self._annotations: tuple[Any, Mapping[int, Any]] | None = None
        self.numbers: dict[str, dict[str, float]] = {}  # of the latest validation and of each test
        self.scores_logged = {"map_box", "map_mask"}

    @staticmethod
    def build_models(
        vit: nn.Module,
        num_classes: int,
        reducer: Any,
        schedule: Any,
        *,
        detector: Any = None,
        checkpoint: Any = None,
        **switches: Any,
    ) -> tuple[nn.Module, nn.Module]:
        """The detector around a backbone, and the same with all its tokens; every parameter is shared.

        Args:
            vit: the backbone.
            num_classes: kinds of objects.
            reducer: the method, as a configuration makes it.
            schedule: how many tokens are left where.
            detector: arguments of `atc.dense.build_detector.build_detector`.
            checkpoint: not read here.
            **switches: `as_released`, `proportional_attention` and `size_weighted` of the run.
        """
        return build_detector(vit, num_classes, reducer, schedule, **switches, **(detector or {}))

    def run_notices(self, batch: int) -> list[str]:
        """For the record: at which rate it learns, where that is not the published one.

        Args:
            batch: images behind one update, of all devices.
        """
        notice = rate_notice(getattr(self.configure, "keywords", {}), batch)
        return [] if notice is None else [notice]

    def training_loss(self, batch: Batch) -> Tensor:
        """The sum of the detector's losses."""
        images, targets = batch
        losses: dict[str, Tensor] = self.model(images, targets)
        for name, value in losses.items():
            self.log(f"train/{name}", value)
        return sum(losses.values(), start=images.new_zeros(()))

    def evaluation_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Not to be called: a detector's losses need proposals drawn at random.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("detection has no loss of an evaluation")

    def _evaluate(self, batch: Batch, metrics: Any, name: str) -> None:
        images, targets = batch
        model: Any = self.model
        found = model(images, targets)
        if not bool(model.finite.all()):
            broken = int((~model.finite).sum())
            raise NotFinite(
                f"{name}: the feature maps of {broken} of {len(images)} images are not finite, so that nothing "
                f"measured on them means anything; {causes(model)}"
            )
        self.found = found if self.keeps_found else []
        ids = [category["id"] for category in self.categories(name)]
        for one, target in zip(found, targets, strict=True):
            self.seen.append(int(target["image_id"]))
            self.masks = "masks" in one
            self.rows += detections_of(self.seen[-1], one, ids)

    def categories(self, name: str) -> list[Any]:
        """What the labels stand for in a validation, "val", or in a test of that name: by label, from that of 1."""
        known: list[Any] = self._data(name).categories
        return known

    def annotations(self, name: str) -> Mapping[int, Any]:
        """What is annotated, by the id of the image, in COCO's format; see `categories` for the name."""
        data = self._data(name)
        if self._annotations is None or self._annotations[0] is not data:
            self._annotations = data, ground_truth.by_image(data.ground_truth())
        return self._annotations[1]

    def _data(self, name: str) -> Any:
        loaders: Any = self.trainer.val_dataloaders if name == "val" else self.trainer.test_dataloaders
        loader = loaders[0] if isinstance(loaders, list | tuple) else loaders
        return loader.dataset

    def on_train_start(self) -> None:
        """Keep what the labels stand for, which the weights do not say."""
        super().on_train_start()
        self._keep_categories(self.trainer.train_dataloader)

    def _keep_categories(self, loader: Any) -> None:
        known = getattr(getattr(loader, "dataset", None), "categories", None)
        if known is not None and self.trainer.is_global_zero:
            categories.write(Path(self.trainer.default_root_dir), known)

    def on_validation_epoch_start(self) -> None:
        """Forget earlier detections."""
        self.rows, self.seen = [], []

    def on_test_epoch_start(self) -> None:
        """Forget earlier detections."""
        self.rows, self.seen = [], []

    def on_validation_epoch_end(self) -> None:
        """Compare the detections of all processes with what is there."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Likewise; and write them."""
        self._finish(self.test_name)

    def _finish(self, name: str) -> None:
        rows, seen = _of_all(self.rows), _of_all(self.seen)
        data = self._data(name)
        made: list[Any] = [None]
        if self.trainer.is_global_zero:
            kinds: list[Kind] = ["box", "mask"] if self.masks else ["box"]
            made = [evaluate(data.ground_truth(), rows, seen, kinds)]
        if _several():
            dist.broadcast_object_list(made)
        found = made[0]
        self.numbers[name] = found.numbers
        for number, value in found.numbers.items():
            self.log(f"{name}/{number}", value, sync_dist=True)  # equal in all processes already
        total = len(data)
        self.images[name] = {"images": min(len(set(seen)), total), "images_of": total}
        if name != "val" and self.trainer.is_global_zero:
            self._write(name, rows, found._asdict())
        self.rows, self.seen, self.found = [], [], []

    def _write(self, name: str, rows: list[dict[str, Any]], found: Mapping[str, Any]) -> None:
        directory = Path(self.trainer.default_root_dir)
        write_whole(directory / f"detections_{name}.json", json.dumps(rows, allow_nan=False))
        write_whole(directory / f"coco_{name}.json", json_text({**found, **self.images[name]}))


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _of_all(mine: list[Any]) -> list[Any]:
    """What the lists of all processes hold, in the order of the processes."""
    if not _several():
        return mine
    of_each: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(of_each, mine)
    return [one for part in of_each for one in part]

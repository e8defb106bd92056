"""Predict: from a detector and images to pictures of what it finds, and all detections in COCO's format."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F
from torchvision.io import encode_png

from atc.config import objects
from atc.dense import categories, drawing
from atc.dense.boxes import SIDES
from atc.dense.categories import Category
from atc.dense.coco_evaluation import check_installed, detections_of
from atc.diffusion.pipelines import device_of
from atc.files import json_text, write_whole
from atc.run import own_images
from atc.run.loading import load
from atc.runs import directories, lock
from atc.runs.record import Record
from atc.tasks.finite import plans_to_blame
from atc.weights.loading import read_weights

log = logging.getLogger(__name__)

PICTURES, DETECTIONS, IMAGES = "pictures", "detections.json", "images.json"
EVERY = 10.0  # seconds between writings of detections so far, and between lines of a log
# How the layer that tells classes apart is called, here and by mmdet; its first axis has the background, too.
CLASSIFIERS = ("roi_heads.box_predictor.cls_score.bias", "roi_head.bbox_head.fc_cls.bias")


class Predictor(NamedTuple):
    """What finds objects.

    Attributes:
        model: the detector, in evaluation, on its device.
        transform: from an image ``[3, H, W]`` uint8 and a target to those that the detector takes.
        categories: by label, from that of label 1.
        device: of the detector.
    """

    model: Any
    transform: Callable[[Tensor, dict[str, Tensor]], tuple[Tensor, Any]]
    categories: list[Category]
    device: torch.device

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """What is found in an image ``[3, H, W]`` uint8: boxes, labels, scores and masks, in its pixels."""
        seen, _ = self.transform(image, {})
        height, width = seen.shape[-2:]
        padded = F.pad(seen, (0, -width % SIDES, 0, -height % SIDES))[None].to(self.device)
        target = {"size": torch.tensor((height, width)), "orig_size": torch.tensor(image.shape[-2:])}
        found: dict[str, Tensor] = self.model(padded, [target])[0]
        if not bool(self.model.finite.all()):
            plans = plans_to_blame(self.model)
            raise ValueError(
                f"the feature maps of an image are not finite: the weights of the detector have diverged"
                f"{'' if plans is None else f', or {plans}'}"
            )
        return found


def predictor(cfg: DictConfig) -> Predictor:
    """The detector of a configuration.

    Args:
        cfg: conf/predict.yaml composed, with the settings of the run that the checkpoint is of.

    Raises:
        ValueError: the checkpoint holds no detector, or one of other sizes.
    """
    device = device_of(cfg.device)
    file = directories.checkpoint_file(cfg.checkpoint)
    state = read_weights(file)
    counts = [len(value) for name, value in state.items() if name.endswith(CLASSIFIERS)]
    if not counts:
        raise ValueError(f"{file} holds no detector: none of its weights is called {' or '.join(CLASSIFIERS)}")
    del state
    built = objects.build_model(cfg, with_weights=False, num_classes=counts[0] - 1)
    load(built.model, file, cfg.get("use_ema"))
    data: Any = built.datamodule
    if not hasattr(data, "eval_transform"):
        raise ValueError(
            f"datamodule={type(data).__name__} has no eval_transform(), which makes an image ready for its detector: "
            f"datamodule=coco_detection has one"
        )
    of_data = data.known_categories() if hasattr(data, "known_categories") else None
    named = categories.of_detector(counts[0] - 1, directories.run_directory(file), of_data)
    return Predictor(built.model.eval().to(device), data.eval_transform(), named, device)


def predict(cfg: DictConfig) -> Record:
    """Find objects in images; write a picture of each with what was found, and all of it in COCO's format.

    A picture is written as soon as its image is done, and detections every few seconds, so that an interruption costs
    no more than that.

    Args:
        cfg: conf/predict.yaml composed, with output_dir set.

    Returns:
        An empty record: nothing is measured.

    Raises:
        ValueError: there are no images, or no detector; or an image cannot be read, with on_corrupt=fail.
    """
    check_installed()
    with lock.alone(cfg.output_dir):
        _predict(cfg)
    return Record()


def _predict(cfg: DictConfig) -> None:
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    earlier = Path(cfg.paths.runs)
    files = own_images.files_of(cfg.images, earlier / "predict", earlier / "predict_sweep", cfg.output_dir)
    directory = Path(cfg.output_dir)
    targets = own_images.picture_files(files, directory / PICTURES)
    finds = predictor(cfg)
    directories.save_config(cfg, directory)
    names = [one["name"] for one in finds.categories]
    ids = [one["id"] for one in finds.categories]
    done = {"images": 0, "objects": 0}
    with _kept(directory, finds.categories, len(files)) as keep:
        for number, file in zip(own_images.numbers(files), files, strict=True):
            image = own_images.read(file, cfg.on_corrupt)
            if image is None:
                continue
            found = finds(image)
            shown = drawing.above(found, cfg.threshold)
            picture = encode_png(drawing.drawn(image, shown, names))
            targets[file].parent.mkdir(parents=True, exist_ok=True)
            write_whole(targets[file], picture.numpy().tobytes())
            about = {"id": number, "file_name": str(file), "height": image.shape[1], "width": image.shape[2]}
            done["images"] += 1
            done["objects"] += len(shown["boxes"])
            keep(about, detections_of(number, found, ids))
    if not done["images"]:
        raise ValueError(f"images={cfg.images}: none of {len(files)} files can be read as an image")
    tokens = f"; tokens {' -> '.join(map(_short, _counts(finds.model)))}" if finds.model.trace else ""
    log.info(
        "%d of %d images, %d objects with a score of %s or more%s\npictures, %s and %s in %s",
        *(done["images"], len(files), done["objects"], cfg.threshold, tokens, DETECTIONS, IMAGES, directory),
    )


@contextmanager
def _kept(
    directory: Path, known: Sequence[Category], total: int
) -> Iterator[Callable[[Mapping[str, Any], list[dict[str, Any]]], None]]:
    """What takes an image and its detections, and writes those so far every few seconds and at the end, whatever ends.

    Args:
        directory: of the run.
        known: the categories.
        total: how many images there are.
    """
    images: list[Mapping[str, Any]] = []
    rows: list[dict[str, Any]] = []
    written = time.monotonic()

    def write() -> None:
        write_whole(directory / IMAGES, json_text({"images": images, "categories": list(known)}))
        write_whole(directory / DETECTIONS, json.dumps(rows, allow_nan=False))

    def keep(image: Mapping[str, Any], found: list[dict[str, Any]]) -> None:
        nonlocal written
        images.append(image)
        rows.extend(found)
        if time.monotonic() - written > EVERY and len(images) < total:
            write()
            log.info("%d of %d images", len(images), total)
            written = time.monotonic()

    try:
        yield keep
    finally:
        if images:
            write()


def _counts(model: Any) -> list[float]:
    counts: list[float] = model.tokens_per_block()
    return [count for place, count in enumerate(counts) if place == 0 or count != counts[place - 1]]


def _short(count: float) -> str:
    return f"{count:,.0f}"

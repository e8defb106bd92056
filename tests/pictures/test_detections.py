"""Rows of panels: what is annotated, what is found, and the tokens it was found by."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from atc.dense import ground_truth
from atc.pictures import detections
from atc.pictures.gallery import Gallery
from datamodules.io.padded import pad_batch
from datamodules.shapes_detection import ShapesDetection

pytest.importorskip("pycocotools", reason="an extra: pip install 'atc-toolkit[detection]'")
from tests.tasks.test_detection import detectors


def batch() -> tuple[Any, torch.Tensor, list[dict[str, Any]]]:
    """Two scenes, one of them cut, so that it is padded, and annotated for a file of twice its size."""
    data = ShapesDetection(2, 2, 0, 0, size=64).dataset("test")
    samples = [data[0], data[1]]
    cut = samples[1][0][:, :40]
    samples[1] = cut, samples[1][1] | {"orig_size": torch.tensor((80, 128))}
    images, targets = pad_batch(samples)
    return data, images, targets


@torch.no_grad()
def test_a_row_has_a_panel_for_truth_findings_and_each_stage() -> None:
    data, images, targets = batch()
    model, _ = detectors()
    model.eval()
    found = model(images, targets)
    annotations = ground_truth.by_image(data.ground_truth())
    annotations[1] = []
    given = ((images, targets), found, annotations, data.categories)
    rows = detections.rows(model, *given, stages=[0, 2], threshold=2.0)
    assert [row.picture.shape for row in rows] == [(512 + 24, 4 * 520 - 8, 3), (320 + 24, 4 * 520 - 8, 3)]
    assert rows[0].caption.startswith(f"image 0: annotated: {len(annotations[0])}; score 2 or more: 0; 8 tokens after")
    assert rows[0].caption.endswith("2 tokens after block 10")
    first, second, third, fourth = (rows[1].picture[24:, start : start + 512] for start in range(0, 2080, 520))
    assert np.array_equal(first, second), "neither annotated nor found: the image itself"
    assert not np.array_equal(rows[0].picture[24:, :512], rows[0].picture[24:, 520:1032])
    assert len(np.unique(fourth.reshape(-1, 3), axis=0)) < len(np.unique(third.reshape(-1, 3), axis=0))
    low = detections.rows(model, *given, stages=[], threshold=0.0)
    assert low[0].picture.shape[1] == 2 * 520 - 8
    assert f"score 0 or more: {len(found[0]['boxes'])}" in low[0].caption
    assert detections.below([row.picture for row in rows]).shape == (512 + 320 + 2 * 24 + 16, 2072, 3)


def test_annotations_as_objects() -> None:
    """Polygons, run lengths and nothing."""
    base = {"bbox": [1, 2, 3, 4], "category_id": 7}
    polygon = {**base, "segmentation": [[1, 2, 4, 2, 4, 6, 1, 6], [0, 0, 1, 1]]}
    runs = {**base, "segmentation": {"size": [8, 8], "counts": [0, 8, 56]}, "iscrowd": 1}
    empty = {**base, "segmentation": []}
    found = ground_truth.objects([polygon, runs, empty], [5, 7], (8, 8))
    assert found["boxes"].tolist() == [[1, 2, 4, 6]] * 3
    assert found["labels"].tolist() == [2, 2, 2]
    assert found["crowd"].tolist() == [False, True, False]
    assert found["masks"].sum(dim=(1, 2)).tolist() == [12, 8, 0]
    assert found["masks"][0, 2:6, 1:4].all()
    none = ground_truth.objects([], [5], (8, 8))
    assert none["masks"].shape == (0, 8, 8)
    assert none["boxes"].shape == (0, 4)


class Logger:
    """As W&B's."""

    def __init__(self) -> None:
        self.logged: list[tuple[str, int, list[str]]] = []

    def log_image(self, key: str, images: list[np.ndarray], step: int, caption: list[str]) -> None:
        assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in images)
        self.logged.append((key, step, caption))


@torch.no_grad()
def test_the_gallery_shows_the_first_images_of_as_many_batches_as_it_takes(tmp_path: Path) -> None:
    data, images, targets = batch()
    model, _ = detectors("none")
    model.eval()
    logger, shown = Logger(), Gallery(images=3)
    trainer: Any = SimpleNamespace(
        loggers=[logger, object()],
        default_root_dir=str(tmp_path),
        is_global_zero=True,
        sanity_checking=False,
        current_epoch=0,
        global_step=7,
    )
    known = {**ground_truth.by_image(data.ground_truth()), 1: []}  # the second is annotated for another size
    task: Any = SimpleNamespace(
        detection=True, model=model, annotations=lambda _: known, categories=lambda _: data.categories, found=[]
    )
    shown.on_validation_epoch_start(trainer, task)
    asked = []
    for number in range(4):
        asked.append(task.keeps_found)
        task.found = model(images, targets) if task.keeps_found else []
        shown.on_validation_batch_end(trainer, task, None, (images, targets), number)
    shown.on_validation_epoch_end(trainer, task)
    assert asked == [True, True, False, False]
    ((key, step, captions),) = logger.logged
    assert (key, step) == ("objects/val", 7)
    assert [caption.partition(":")[0] for caption in captions] == ["image 0", "image 1", "image 0"]
    assert (tmp_path / "pictures" / "val.png").is_file()
    none = Gallery(images=0)
    none.on_validation_epoch_start(trainer, task)
    assert not task.keeps_found
    seldom = Gallery(every_n_epochs=2)
    seldom.on_validation_epoch_start(trainer, task)
    assert not task.keeps_found

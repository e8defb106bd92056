"""Drawn scenes as a detection data set."""

import numpy as np
import pytest
import torch

from datamodules.scenes import KINDS, draw
from datamodules.shapes_detection import ShapesDetection

codes = pytest.importorskip("pycocotools.mask", reason="an extra: pip install 'atc-toolkit[detection]'")


def test_targets_are_those_of_the_scenes() -> None:
    data = ShapesDetection(2, 3, 0, 0, size=64, train=4, val=3, test=5)
    data.adapt({"mean": (0.25,) * 3, "std": (0.5,) * 3, "input_size": (3, 28, 28)})
    image, target = data.dataset("train", True)[1]
    scene = draw((0, 1), 64, turn=0.0)
    assert torch.allclose(image, torch.from_numpy(scene.image).permute(2, 0, 1) / 255 / 0.5 - 0.5, atol=1e-6)
    assert target["labels"].tolist() == [kind + 1 for kind in scene.kinds.tolist()]
    assert target["boxes"].tolist() == scene.boxes.tolist()
    assert (target["masks"].numpy() == scene.masks).all()
    images, targets = next(iter(data.train_dataloader()))
    assert images.shape == (2, 3, 64, 64)
    assert len(targets) == 2
    assert len(data.test_dataloader()) == 2
    assert len(data.unaugmented_train_dataloader().dataset) == 4


def test_ground_truth_is_in_cocos_format() -> None:
    truth = ShapesDetection(2, 3, 0, 0, size=64, test=5, turn=0.25).dataset("test").ground_truth()
    assert [one["id"] for one in truth["annotations"]] == list(range(1, len(truth["annotations"]) + 1))
    assert [one["name"] for one in truth["categories"]] == list(KINDS)
    of_third = [one for one in truth["annotations"] if one["image_id"] == 3]
    scene = draw((2, 3), 64, turn=0.25)
    assert (
        np.stack([codes.decode(one["segmentation"]) for one in of_third]).astype(bool).tolist() == scene.masks.tolist()
    )
    assert [one["area"] for one in of_third] == scene.masks.sum((1, 2)).tolist()
    assert [one["category_id"] - 1 for one in of_third] == scene.kinds.tolist()

"""Drawn scenes as a datamodule."""

import pytest
import torch

from datamodules.shapes import Shapes
from tests.datamodules.on_disk import load


def _shapes(**settings: object) -> Shapes:
    return load("shapes", None, size=28, train=16, val=6, test=10, **settings)


def test_multi_label_batches() -> None:
    data = _shapes()
    assert data.num_classes == len(data.classes) == 10
    images, labels = next(iter(data.val_dataloader()))
    assert images.shape == (4, 3, 28, 28)
    assert labels.shape == (4, 10)
    for row, i in zip(labels, range(4), strict=True):
        assert row.nonzero().flatten().tolist() == sorted(set(data.dataset("val").scene(i).kinds.tolist()))
    assert [len(loader) for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())] == [
        4,
        2,
        3,
    ]


def test_classes() -> None:
    data = _shapes(target="class")
    targets = torch.cat([targets for _, targets in data.test_dataloader()])
    assert targets.tolist() == [data.dataset("test").scene(i).label for i in range(10)]
    with pytest.raises(ValueError, match="target=box is neither"):
        _shapes(target="box")


def test_normalisation_and_range() -> None:
    dataset = _shapes().dataset("train")
    image, _ = dataset[3]
    raw = torch.from_numpy(dataset.scene(3).image).permute(2, 0, 1) / 255
    torch.testing.assert_close(image, (raw - 0.5) / 0.5)
    with pytest.raises(IndexError, match="scene 16 of 16"):
        dataset[16]


def test_parts_share_no_scene() -> None:
    data = _shapes()
    first = [data.dataset(part).scene(0).image for part in ("train", "val", "test")]
    assert all((a != b).any() for a, b in zip(first, first[1:] + first[:1], strict=True))

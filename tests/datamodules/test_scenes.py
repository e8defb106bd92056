"""Drawn scenes: the same for the same seed, and annotated truly."""

import numpy as np
import pytest

from datamodules.scenes import KINDS, MIN_VISIBLE, TEXTURES, boxes_of, draw


def test_a_seed_is_a_scene() -> None:
    a, b, other = draw(5), draw(5), draw(6)
    assert (a.image == b.image).all()
    assert (a.masks == b.masks).all()
    assert (a.image != other.image).any()


@pytest.mark.parametrize("size", [28, 56, 224])
def test_annotation_is_consistent(size: int) -> None:
    for seed in range(40):
        scene = draw((0, seed), size)
        n = len(scene.kinds)
        assert 1 <= n <= 4
        assert scene.image.shape == (size, size, 3)
        assert scene.image.dtype == np.uint8
        assert scene.masks.shape == (n, size, size)
        assert (scene.masks.sum(0) <= 1).all(), "visible parts overlap"
        assert scene.masks.any((1, 2)).all(), "an object is annotated that cannot be seen"
        assert set(np.flatnonzero(scene.labels)) == set(scene.kinds)
        assert scene.label in scene.kinds
        assert scene.textures.max() < len(TEXTURES)
        for mask, (x0, y0, x1, y1) in zip(scene.masks, scene.boxes.astype(int), strict=True):
            assert mask[y0:y1, x0:x1].sum() == mask.sum()
            assert mask[y0, x0:x1].any()
            assert mask[y1 - 1, x0:x1].any()
            assert mask[y0:y1, x0].any()
            assert mask[y0:y1, x1 - 1].any()


def test_objects_hide_one_another_but_never_most_of_one() -> None:
    visible = [draw(seed, objects=(4, 4)).visible for seed in range(200)]
    assert all(scene[-1] == 1 for scene in visible), "nothing lies before the nearest object"
    assert min(scene.min() for scene in visible) >= MIN_VISIBLE
    assert np.mean([scene.min() < 0.9 for scene in visible]) > 0.3


def test_the_same_scene_at_any_size() -> None:
    for seed in range(20):
        small, large = draw(seed, 64, objects=(1, 1)), draw(seed, 256, objects=(1, 1))
        assert small.kinds.tolist() == large.kinds.tolist()
        np.testing.assert_allclose(small.boxes * 4, large.boxes, atol=6)


def test_every_kind_occurs_and_classes_are_even() -> None:
    labels = np.stack([draw((1, i), 28).labels for i in range(600)])
    share = labels.mean(0)
    assert labels.shape[1] == len(KINDS) == 10
    assert ((share > 0.12) & (share < 0.35)).all(), share
    assert list(KINDS) == sorted(KINDS)


def test_boxes() -> None:
    mask = np.zeros((1, 6, 8), dtype=bool)
    mask[0, 2:4, 3:7] = True
    assert boxes_of(mask).tolist() == [[3, 2, 7, 4]]

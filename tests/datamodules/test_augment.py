"""The transforms of the papers, step by step."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.auto_augment import RandAugment
from timm.data.random_erasing import RandomErasing
from torchvision import transforms

from datamodules.augment import Crop, Cutout, Squash
from datamodules.scenes import draw
from tests.datamodules.on_disk import load

DATA = {"input_size": (3, 224, 224), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
WIDE = Image.fromarray(draw(0, 300).image[:200])


def test_nabirds_has_jitter_in_place_of_auto_augment() -> None:
    steps = load("nabirds", None).transforms.train(DATA).transforms
    names = [type(step).__name__ for step in steps]
    assert names == [
        "RandomResizedCropAndInterpolation",
        "RandomHorizontalFlip",
        "ColorJitter",
        "MaybeToTensor",
        "Normalize",
        "RandomErasing",
    ]
    assert (steps[0].scale, steps[0].size) == ((0.08, 1.0), (224, 224))
    assert steps[0].ratio == (3 / 4, 4 / 3)
    jitter = steps[2]
    assert jitter.brightness == jitter.contrast == jitter.saturation == pytest.approx((0.7, 1.3))
    assert jitter.hue is None
    erasing = steps[5]
    assert isinstance(erasing, RandomErasing)
    assert (erasing.probability, erasing.rand_color, erasing.per_pixel, erasing.max_count) == (0.25, False, True, 1)


def test_centre_crop_of_875_thousandths() -> None:
    steps = load("nabirds", None).transforms.eval(DATA).transforms
    assert (steps[0].size, steps[0].interpolation) == (256, transforms.InterpolationMode.BICUBIC)
    assert tuple(steps[1].size) == (224, 224)
    assert Crop(size=96).eval(DATA)(WIDE).shape == (3, 96, 96)


@pytest.mark.parametrize("name", ["coco", "nus_wide", "voc_multilabel"])
def test_multi_label_sets_squash_cut_out_and_augment_in_this_order(name: str) -> None:
    steps = load(name, None).transforms.train(DATA).transforms
    resize, cutout, augment, finish = steps
    assert (resize.size, resize.interpolation) == ((224, 224), transforms.InterpolationMode.BICUBIC)
    assert isinstance(cutout, Cutout)
    assert cutout.share == 0.5
    (rand,) = augment.transforms
    assert isinstance(rand, RandAugment)
    assert {(op.magnitude, op.magnitude_std) for op in rand.ops} == {(9, 0.5)}
    assert rand.ops[0].hparams["translate_const"] == 100
    assert rand.ops[0].kwargs["fillcolor"] == (124, 116, 104)
    assert [type(step).__name__ for step in finish.transforms] == ["MaybeToTensor", "Normalize"]
    assert load(name, None).transforms.train(DATA)(WIDE).shape == (3, 224, 224)


def test_squash_keeps_the_whole_picture() -> None:
    out = Squash().eval(DATA)(WIDE)
    expected = np.asarray(WIDE.resize((224, 224), Image.Resampling.BICUBIC)).astype(np.float32) / 255
    mean, std = np.float32(DATA["mean"]), np.float32(DATA["std"])
    torch.testing.assert_close(out.permute(1, 2, 0), torch.from_numpy((expected - mean) / std))


def test_cutout() -> None:
    white = Image.new("RGB", (64, 64), "white")
    areas = []
    for seed in range(200):
        random.seed(seed)
        cut = np.asarray(Cutout(0.5)(white)) != 255
        rows, cols = cut.any(2).any(1), cut.any(2).any(0)
        colours = {tuple(c) for c in np.asarray(Cutout(0.5)(white)).reshape(-1, 3)}
        assert len(colours) == 2, "one rectangle of one colour"
        assert rows.sum() <= 32
        assert cols.sum() <= 32
        areas.append(rows.sum() * cols.sum())
    assert max(areas) == 32 * 32
    assert min(areas) < 20 * 32, "centres near the edge leave less of it"
    assert np.asarray(white).min() == 255, "the picture given is left alone"
    assert Cutout(0)(white) is white
    with pytest.raises(ValueError, match="cutout=2 is not within"):
        Cutout(2)


@pytest.mark.parametrize("policy", ["rand-m10-p1-inc1", "rand-m0-p1", "augmix-m10", "original", "v0"])
def test_every_operation_of_a_policy_takes_its_strongest_setting(policy: str) -> None:
    """Posterising to 0 bits among them, which Pillow 13 refuses."""
    (augment,) = Squash(cutout=0, auto_augment=policy).train(DATA).transforms[2].transforms
    steps = augment.ops if hasattr(augment, "ops") else [step for steps in augment.policy for step in steps]
    for step in steps:
        for step.magnitude in (0, 10):
            step.prob, step.magnitude_std = 1.0, 0
            assert step(WIDE).size == WIDE.size
            if "Posterize" in step.name and step.level_fn(step.magnitude, {}) == (0,):
                assert step(WIDE).getextrema() == ((0, 0),) * 3

"""Pictures of soft methods, and of images that keep different numbers of tokens."""

import numpy as np
import pytest
import torch
from PIL import Image

import atc
from atc.pictures import drawing
from atc.pictures.figure import Row, panels
from atc.pictures.gallery import strip
from atc.pictures.order import histories
from atc.pictures.snapshots import snapshots
from tests.reducers.kinds import Padded, Soft
from tests.vit.test_valid import model, pictures


def photo(side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def soft() -> atc.ReducedViT:
    reduced = model(Soft)
    with torch.no_grad():
        reduced(pictures())
    return reduced


def test_a_patch_has_the_colours_of_its_tokens_mixed_by_its_shares() -> None:
    shares = np.array([[1, 0], [0, 1], [0.25, 0.75], [0.5, 0]])  # half of the last patch was pruned
    colours = np.array([[200, 0, 0], [0, 100, 0]], dtype=np.uint8)
    drawn = drawing.mixed(photo(4), shares, (2, 2), colours)
    assert drawn[0, 0].tolist() == [200, 0, 0]
    assert drawn[0, 3].tolist() == [0, 100, 0]
    assert drawn[3, 0].tolist() == [50, 75, 0]
    half = [100, 0, 0] + 0.5 * drawing.dimmed(photo(4))[3, 3]
    assert np.abs(drawn[3, 3] - half).max() <= 0.5
    means = drawing.mixed(photo(4), np.eye(4), (2, 2))
    assert np.array_equal(means, drawing.mean_colours(photo(4), np.arange(4), (2, 2)))
    with pytest.raises(ValueError, match="shares of 4 patches do not fit a grid of 1 x 2"):
        drawing.mixed(photo(4), shares, (1, 2))


@pytest.mark.parametrize("look", ["mean", "detail", "distinct"])
def test_soft_methods_are_drawn_as_soft(soft: atc.ReducedViT, look: str) -> None:
    stages = snapshots(soft.trace, 1)
    shown = panels(Row("soft", photo(), (4, 4), stages, look))
    assert all(len(panel.lines) == 0 for panel in shown)  # no token ends anywhere
    assert [panel.caption for panel in shown[1:]] == ["8 tokens, shared", "4 tokens, shared"]
    if look != "distinct":
        assert np.array_equal(shown[2].picture, drawing.mixed(photo(), soft.trace.source_shares()[1].numpy(), (4, 4)))
    atc.draw(Image.fromarray(photo()), soft.trace, 1, look=look)
    assert strip(photo(), stages, (4, 4)).shape[1] > 3 * 224


@torch.no_grad()
def test_captions_count_what_is_real() -> None:
    reduced = model(Padded)
    reduced(pictures())
    for index in range(4):
        stages = snapshots(reduced.trace, index)
        counts = [stage.real(index) for stage in reduced.trace]
        assert [stage.tokens for stage in stages] == counts
        kept = [len(set(stage.source.tolist()) - {-1}) for stage in stages]
        assert kept == counts
        assert all(stage.shares is None for stage in stages)
    found = histories(reduced, pictures())
    assert [[mark.tokens for mark in one.stages] for one in found] == [
        [stage.real(index) for stage in reduced.trace] for index in range(4)
    ]

"""`atc.draw`: an image and its trace as one picture."""

import numpy as np
import pytest
import torch
from PIL import Image

import atc
from atc.core import Trace
from tests.vit.wrapped import images, wrapped


@pytest.fixture(scope="module")
def trace() -> Trace:
    model = wrapped("tome")
    model(images(2))
    return model.trace


def photo(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("look", ["detail", "mean", "distinct"])
def test_a_panel_for_the_input_and_for_each_stage(trace: Trace, look: str) -> None:
    drawn = atc.draw(photo(90, 60), trace, 1, look=look)
    assert drawn.mode == "RGB"
    assert len(trace) == 2
    assert 2.5 < drawn.width / drawn.height < 3.2  # three square panels with their titles


def test_tensors_are_drawn_as_the_pictures_they_are(trace: Trace) -> None:
    pixels = torch.from_numpy(np.array(photo(64, 64))).permute(2, 0, 1)
    expected = np.asarray(atc.draw(photo(64, 64), trace))
    assert np.array_equal(np.asarray(atc.draw(pixels, trace)), expected)
    assert np.array_equal(np.asarray(atc.draw(pixels.double() / 255, trace)), expected)


def test_images_of_a_batch_differ(trace: Trace) -> None:
    assert atc.draw(photo(64, 64), trace, 0).tobytes() != atc.draw(photo(64, 64), trace, 1).tobytes()
    assert atc.draw(photo(64, 64), trace, -1).tobytes() == atc.draw(photo(64, 64), trace, 1).tobytes()


def test_a_grid_that_is_no_square() -> None:
    model = wrapped("atc_average")
    with torch.no_grad():
        model(images(1))
    tall = atc.draw(photo(20, 80), model.trace)  # 16 patches: 8 x 2
    wide = atc.draw(photo(20, 80), model.trace, grid=(2, 8))
    assert tall.height > tall.width / 2
    assert wide.height < wide.width / 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((torch.rand(64, 64, 3), 0), r"image must be a PIL image or a tensor \[3, H, W\], got .*\[64, 64, 3\]"),
        ((torch.randn(3, 64, 64), 0), r"image must lie in \[0, 1\], got -.*: undo its normalisation first"),
        ((torch.zeros(3, 64, 64, dtype=torch.int32), 0), "image must be uint8 or floating, got torch.int32"),
        ((photo(64, 64), 2), "index=2: the trace is of 2 images, 0 to 1"),
        ((photo(64, 64), 1.0), "index=1.0 must be a whole number: which image of the batch"),
        ((photo(64, 64), True), "index=True must be a whole number"),
        ((photo(64, 64), "0"), "index='0' must be a whole number"),
        ((torch.rand(3, 0, 5), 0), r"image has no pixels: torch.float32 \[3, 0, 5\]"),
        ((torch.zeros(3, 5, 0, dtype=torch.uint8), 0), r"image has no pixels: torch.uint8 \[3, 5, 0\]"),
    ],
)
def test_what_does_not_fit_is_said(trace: Trace, arguments: tuple[object, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        atc.draw(arguments[0], trace, arguments[1])  # type: ignore[arg-type]


def test_a_grid_of_other_patches_and_an_empty_trace(trace: Trace) -> None:
    with pytest.raises(ValueError, match=r"grid=\(3, 5\) has 15 patches, the trace 16"):
        atc.draw(photo(64, 64), trace, grid=(3, 5))
    with pytest.raises(ValueError, match="the trace has no stages"):
        atc.draw(photo(64, 64), Trace())


def test_what_there_is() -> None:
    assert {"wrap", "unwrap", "draw", "ReducedViT", "check_plans", "__version__"} <= set(dir(atc))
    assert not [name for name in dir(atc) if not name.startswith("__") and name not in atc.__all__]

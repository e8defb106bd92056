"""Images from files and data sets: the network's view and the drawn one show the same."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from atc.pictures import photo
from tests import golden

CONFIG = {"input_size": (3, 224, 224), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def test_a_picture_of_the_right_size_reaches_the_network_as_it_is(tmp_path):
    pixels = golden.outputs("backbone")["images"][3]
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    shown = photo.from_picture(photo.opened(tmp_path / "cat.png"), CONFIG, "cat")
    assert (shown.drawn == pixels).all()
    torch.testing.assert_close(shown.seen, golden.images(torch.float32)[3:4])


def test_a_larger_picture_is_cropped_in_the_centre_and_drawn_in_more_detail():
    picture = Image.fromarray(np.zeros((500, 900, 3), dtype=np.uint8))
    picture.paste((255, 0, 0), (200, 0, 700, 500))
    shown = photo.from_picture(picture, CONFIG, "red")
    assert shown.drawn.shape == (448, 448, 3)
    assert shown.seen.shape == (1, 3, 224, 224)
    assert (shown.drawn[:, 3:-3] == [255, 0, 0]).all()


def test_an_image_of_a_data_set_is_drawn_without_its_normalisation():
    pixels = torch.randint(0, 256, (3, 28, 28), generator=torch.Generator().manual_seed(0)).float() / 255
    config = {**CONFIG, "input_size": (3, 28, 28)}
    mean, std = (torch.tensor(config[key])[:, None, None] for key in ("mean", "std"))
    items = [((pixels - mean) / std, 7)]
    calls = []
    data = SimpleNamespace(
        adapt=calls.append,
        prepare_data=lambda: calls.append("prepared"),
        setup=calls.append,
        val_dataloader=lambda: SimpleNamespace(dataset=items),
    )
    shown = photo.from_data_set(data, "val", 0, config, "digits_0")
    assert calls == [config, "prepared", "validate"]
    assert (torch.from_numpy(shown.drawn).permute(2, 0, 1) == (pixels * 255).round()).all()
    with pytest.raises(ValueError, match="index=1: the val part has images 0 to 0"):
        photo.from_data_set(data, "val", 1, config, "digits_1")
    with pytest.raises(ValueError, match="part=train must be test or val"):
        photo.from_data_set(data, "train", 0, config, "digits_0")


def test_files_that_cannot_be_drawn_are_named(tmp_path):
    (tmp_path / "notes.jpg").write_text("not a picture")
    with pytest.raises(ValueError, match=r"notes\.jpg is not an image that can be read"):
        photo.opened(tmp_path / "notes.jpg")
    with pytest.raises(FileNotFoundError, match=r"cat\.jpg does not exist"):
        photo.opened(tmp_path / "cat.jpg")
    with pytest.raises(FileNotFoundError, match="is a directory"):
        photo.opened(tmp_path)

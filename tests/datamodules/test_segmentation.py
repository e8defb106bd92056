"""Pictures with a label for each pixel: what is read, what is refused, and what crops make of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets, tv_tensors

from datamodules.ade20k import ADE20K
from datamodules.check import report
from datamodules.crops import Crops, resize
from datamodules.io.layout import LayoutError
from datamodules.io.pictures import CorruptImage
from datamodules.scenes import draw
from datamodules.shapes_segmentation import ShapesSegmentation
from datamodules.voc_segmentation import VOCSegmentation
from tests.datamodules.on_disk import DATA_CONFIG, VOC_2012, load, write_ade20k, write_voc_segmentation


def test_ade20k_drops_its_zero(tmp_path: Path) -> None:
    written = write_ade20k(tmp_path)
    data = load("ade20k", tmp_path)
    assert data.num_classes == 150
    assert (data.classes[0], data.classes[20], data.classes[149]) == ("wall", "car", "flag")
    assert {part: len(entries) for part, (entries, _) in data.parts.items()} == {"train": 6, "test": 4, "val": 4}
    pictures = data.pictures("test")
    for index, labels in enumerate(written["validation"]):
        image, target = pictures[index]
        assert image.shape == (3, 32, 32)
        assert type(image) is type(target["labels"]) is torch.Tensor
        assert (target["labels"].numpy() == np.where(labels == 0, 255, labels - 1)).all(), "at the file's size"


def test_voc_has_a_background_and_is_what_torchvision_reads(tmp_path: Path) -> None:
    written = write_voc_segmentation(tmp_path)
    data = load("voc_segmentation", tmp_path, download=False)
    assert (data.num_classes, data.classes[0], data.classes[15]) == (21, "background", "person")
    theirs = datasets.VOCSegmentation(tmp_path, year="2012", image_set="val")
    assert len(theirs) == len(written["val"])
    pictures = data.pictures("test")
    for index, labels in enumerate(written["val"]):
        found = pictures[index][1]["labels"].numpy()
        assert (found == labels).all()
        assert (found == np.array(theirs[index][1])).all()
    (tmp_path / VOC_2012 / "ImageSets" / "Segmentation" / "trainaug.txt").write_text("2007_000501\n")
    larger = load("voc_segmentation", tmp_path, download=False, train_list="trainaug")
    assert len(larger.released["train"][0]) == 1
    assert "train" not in larger.published


def test_an_evaluation_needs_no_training_part(tmp_path: Path) -> None:
    write_ade20k(tmp_path, train=0)
    data = load("ade20k", tmp_path)
    assert len(data.test_dataloader()) == 1
    with pytest.raises(LayoutError, match="ADE20K is missing train pictures"):
        data.train_dataloader()


def replace(path: str, labels: Any) -> None:
    Image.fromarray(np.asarray(labels)).save(path)


MAPS: list[tuple[Callable[[str], None], str]] = [
    (
        lambda path: replace(path, np.full((48, 48), 151, np.uint8)),
        r"has the label 151 in 2,304 pixels: labels are 0..150\)",
    ),
    (
        lambda path: replace(path, np.full((48, 48), 255, np.uint8)),
        r"has the label 255 in 2,304 pixels: labels are 0..150\)",
    ),
    (
        lambda path: replace(path, np.ones((40, 48), np.uint8)),
        "has labels for 48 x 40 pixels, and the picture has 48 x 48",
    ),
    (lambda path: replace(path, np.ones((48, 48, 3), np.uint8)), r"is stored as RGB: a map of labels has one number"),
    (lambda path: replace(path, np.ones((48, 48), np.uint16)), "is stored as I;16B: a map of labels has one number"),
    (lambda path: Path(path).write_text("no image"), "not a picture"),
    (lambda path: Path(path).unlink(), "FileNotFoundError"),
]


@pytest.mark.parametrize(("spoil", "said"), MAPS)
def test_labels_that_cannot_be(tmp_path: Path, spoil: Callable[[str], None], said: str) -> None:
    write_ade20k(tmp_path)
    data = load("ade20k", tmp_path)
    pictures = data.pictures("test")
    spoil(data.label_files[pictures.entries[2]])
    with pytest.raises(CorruptImage, match=said) as caught:
        pictures[2]
    assert str(caught.value).startswith(f"cannot read {pictures.entries[2]} (")
    assert "\n" not in str(caught.value)
    skipping = load("ade20k", tmp_path, on_corrupt="skip") if "File" not in said else data
    if skipping is not data:
        images, targets = next(iter(skipping.test_dataloader()))
        assert len(images) == len(targets) == 3
        assert skipping.corrupt == [pictures.entries[2]]


def test_four_bits_a_pixel_are_not_scaled(tmp_path: Path) -> None:
    """Pillow spreads grey levels of few bits over 0..255, and leaves places in a palette alone."""
    write_ade20k(tmp_path)
    data = load("ade20k", tmp_path)
    pictures = data.pictures("test")
    path = data.label_files[pictures.entries[0]]
    small = Image.fromarray(np.full((48, 48), 7, np.uint8))
    small.putpalette(list(range(48)))
    small.save(path, bits=4)
    assert set(pictures[0][1]["labels"].unique().tolist()) == {6}


def alone(root: Path) -> Path:
    return root / "annotations" / "training" / "ADE_train_00000003.png"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda root: alone(root).unlink(),
            r"ADE_train_00000003.jpg has no partner ADE_train_00000003 in .*annotations",
        ),
        (lambda root: alone(root).rename(alone(root).with_name("x.png")), r"as 1 of 6 have none"),
        (lambda root: (root / "images" / "training" / "ADE_train_00000003.jpg").unlink(), r"00003.png has no partner"),
    ],
)
def test_pictures_and_maps_without_a_partner(tmp_path: Path, spoil: Callable[[Path], Any], said: str) -> None:
    write_ade20k(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=said):
        _ = load("ade20k", tmp_path).released


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "val.txt is empty: it lists the pictures of the test part, one name a line"),
        ("2007_000501\n2007_000501\n", "val.txt: 2007_000501 is there 2 times"),
        ("2007_009999\n", r"val.txt: 1 of 1 names have no picture, such as .*2007_009999.jpg"),
    ],
)
def test_lists_of_voc(tmp_path: Path, text: str, said: str) -> None:
    write_voc_segmentation(tmp_path)
    (tmp_path / VOC_2012 / "ImageSets" / "Segmentation" / "val.txt").write_text(text)
    with pytest.raises(ValueError, match=said):
        _ = load("voc_segmentation", tmp_path, download=False).released
    (tmp_path / VOC_2012 / "SegmentationClass" / "2007_000001.png").unlink()
    write_list = tmp_path / VOC_2012 / "ImageSets" / "Segmentation" / "val.txt"
    write_list.write_text("2007_000501\n")
    with pytest.raises(ValueError, match=r"train.txt: 1 of 6 names have no labels, such as .*2007_000001.png"):
        _ = load("voc_segmentation", tmp_path, download=False).released


def test_check_looks_at_labels_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ade20k(tmp_path)
    monkeypatch.setattr(ADE20K, "published", {"classes": 150, "train": 6, "test": 4})
    text, good = report(load("ade20k", tmp_path), decode=True)
    assert good
    assert text.endswith("complete")
    data = load("ade20k", tmp_path)
    first = data.released["test"][0][0]
    replace(data.label_files[first], np.full((48, 48), 200, np.uint8))
    text, good = report(load("ade20k", tmp_path), decode=True)
    assert not good
    assert f"test: 1 of 4 pictures unreadable, such as {first}" in text
    assert "has the label 200 in 2,304 pixels" in text


def test_published_counts() -> None:
    assert ADE20K.published == {"classes": 150, "train": 20_210, "test": 2_000}
    data = load("voc_segmentation", None, download=False)
    assert isinstance(data, VOCSegmentation)
    assert data.published == {"classes": 21, "train": 1_464, "test": 1_449}


def labelled(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture whose pixels say which label they have: grey level 10 * label, in blocks of 8 x 8 pixels."""
    labels = torch.arange(-(-height // 8) * -(-width // 8)).reshape(-(-height // 8), -1) % 20
    labels = labels.repeat_interleave(8, 0).repeat_interleave(8, 1)[:height, :width].to(torch.uint8)
    return tv_tensors.Image((10 * labels)[None].repeat(3, 1, 1)), tv_tensors.Mask(labels)


PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "input_size": (3, 64, 64)}


def test_crops_keep_pixels_and_labels_together() -> None:
    """Each pixel still has the label that its grey level says, where it lies inside of a block."""
    torch.manual_seed(0)
    transform = Crops(64, 64, scales=(1, 1), colour=0).train(PLAIN)
    sides = set()
    for _ in range(20):
        image, labels = transform(*labelled(64, 96))
        assert image.shape == (3, 64, 64)
        assert labels.shape == (64, 64)
        assert torch.equal((image[0] * 25.5).round().to(torch.uint8), labels.as_subclass(torch.Tensor))
        sides.add(int(labels[0, 0]))
    assert len(sides) > 3
    for _ in range(10):
        image, labels = Crops(64, 48, scales=(0.5, 1.0), colour=0).train(PLAIN)(*labelled(80, 64))
        shown, known = (image[0] * 25.5).round().to(torch.uint8), labels != 255
        assert image.shape == (3, 48, 48)
        assert (shown[known] == labels[known]).float().mean() > 0.6
        assert (image[:, ~known.as_subclass(torch.Tensor)] == 0).all(), "what is filled up"
    changed, _ = Crops(64, 64, scales=(1, 1), colour=1).train(PLAIN)(*labelled(64, 64))
    assert not torch.equal(changed, labelled(64, 64)[0] / 255)


def test_a_crop_is_not_of_one_class() -> None:
    """The picture is of label 0 but for a corner, which a crop at random misses most of the time."""
    labels = torch.zeros(64, 64, dtype=torch.uint8)
    labels[:24, :24] = 1
    image = tv_tensors.Image(torch.zeros(3, 64, 64, dtype=torch.uint8))
    found = {}
    for share in (0.75, 1.0):
        torch.manual_seed(0)
        transform = Crops(64, 32, scales=(1, 1), most_of_one=share).train(PLAIN)
        parts = [transform(image, tv_tensors.Mask(labels))[1] for _ in range(50)]
        found[share] = sum(1 for part in parts if 0.25 < (part == 1).float().mean() < 0.75)
    assert found[0.75] > 2 * found[1.0]


def test_evaluations_are_at_one_scale() -> None:
    image, labels = labelled(40, 60)
    scaled, same = Crops().eval(PLAIN)(image, labels)
    assert scaled.shape == (3, 64, 96)
    assert same is labels
    assert resize(image, 40)[0] is image


@pytest.mark.parametrize("scales", [[1], [2, 1], [0, 1], [1, 17], [1, 1, 1], [True, 2], ["1", 2]])
def test_scales_that_are_none(scales: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"transforms.scales=.* is not \[least, greatest\], two numbers in \(0, 16\]"):
        Crops(scales=scales)


def test_drawn_scenes() -> None:
    data = ShapesSegmentation(2, 3, 0, 0, train=4, val=3, test=5)
    data.adapt(DATA_CONFIG)
    images, labels = next(iter(data.train_dataloader()))
    assert (images.shape, labels.shape) == ((2, 3, 32, 32), (2, 32, 32))
    _, target = data.dataset("test")[1]
    scene = draw((2, 1), 32)
    for kind, mask in zip(scene.kinds.tolist(), scene.masks, strict=True):
        assert (target["labels"].numpy()[mask] == kind + 1).all()
    assert (target["labels"].numpy()[~scene.masks.any(0)] == 0).all()
    _, targets = next(iter(data.val_dataloader()))
    assert [sorted(one) for one in targets] == [["labels", "size"]] * 3
    assert len(data.unaugmented_train_dataloader().dataset) == 4  # type: ignore[arg-type]

"""Objects in images of one's own: pictures and detections, from runs and from files of mmdet."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict
from PIL import Image

from atc import run
from atc.config import build
from atc.config.check import check
from atc.config.taken_over import with_saved
from atc.files import write_whole
from atc.run import prediction
from atc.runs import directories
from datamodules.scenes import KINDS, draw
from tests.harness import forked
from tests.harness.commands import composed, environment
from tests.tasks.test_detection import SMALL

pytest.importorskip("pycocotools", reason="an extra: pip install 'atc-toolkit[detection]'")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a small detector, hardly trained."""
    directory = tmp_path_factory.mktemp("trained") / "run"
    more = ("reducer=none", "datamodule.test=2", "trainer.limit_train_batches=1", "callbacks.gallery.images=0")
    run.train(composed("train", directory, *SMALL, *more))
    return directory


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder as users have them: several formats, a folder in it, files that are no images."""
    folder = tmp_path / "photographs"
    (folder / "more").mkdir(parents=True)
    (folder / ".trash").mkdir()
    Image.fromarray(draw(1, 64).image).save(folder / "a.jpg")
    Image.fromarray(draw(2, 100).image).save(folder / "a.png")
    Image.fromarray(draw(3, 48).image[:30]).convert("L").save(folder / "more" / "b.webp")
    Image.fromarray(draw(4, 48).image).save(folder / ".trash" / "c.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def settings(directory: Path, *overrides: str) -> DictConfig:
    """What atc.run.predict is called with for a command line."""
    GlobalHydra.instance().clear()
    OmegaConf.register_new_resolver("run_dir", lambda *_: str(directory), replace=True)
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        cfg = compose("predict", list(overrides), return_hydra_config=True)
        choices = {key: value for key, value in cfg.hydra.runtime.choices.items() if "hydra" not in key}
    with open_dict(cfg):
        del cfg["hydra"]
        cfg.output_dir, cfg.choices = str(directory), choices
    saved = directories.run_directory(cfg.checkpoint)
    if saved is not None:
        cfg = with_saved(cfg, saved, list(overrides), directories.OF_THE_PREDICTION)
    check(cfg, "predict")
    directory.mkdir(exist_ok=True)
    return cfg


def test_a_folder_of_images_of_any_size(trained: Path, photographs: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    directory = photographs / "found"
    for folder in (directory, photographs / "predict"):  # of an earlier prediction
        (folder / "pictures").mkdir(parents=True)
        Image.fromarray(draw(1, 64).image).save(folder / "pictures" / "old.jpg")
    given = (f"images='{photographs}'", f"checkpoint='{trained}'", f"paths.runs='{photographs}'", "threshold=0.1")
    run.predict(settings(directory, *given, "reducer=atc_average", "keep_rate=0.5"))
    pictures = sorted(str(file.relative_to(directory / "pictures")) for file in directory.glob("pictures/**/*.png"))
    assert pictures == ["a.jpg.png", "a.png.png", "more/b.png"]
    assert Image.open(directory / "pictures" / "a.jpg.png").size == (640, 640)
    assert Image.open(directory / "pictures" / "more" / "b.png").size == (672, 420)
    index = COCO(directory / "images.json")
    found = index.loadRes(str(directory / "detections.json"))  # pycocotools reads both
    assert [(one["height"], one["width"]) for one in index.dataset["images"]] == [(64, 64), (100, 100), (30, 48)]
    assert [one["name"] for one in index.dataset["categories"]] == list(KINDS)
    for one in found.dataset["annotations"]:
        size = next(image for image in index.dataset["images"] if image["id"] == one["image_id"])
        assert one["segmentation"]["size"] == [size["height"], size["width"]]
        x, y, width, height = one["bbox"]
        assert min(x, y) >= 0
        assert x + width <= size["width"] + 1e-3
        assert y + height <= size["height"] + 1e-3
    assert (directory / "composed.yaml").is_file()


def test_it_finds_what_an_evaluation_finds(trained: Path, tmp_path: Path) -> None:
    """On a scene that is stored without loss."""
    cfg = settings(tmp_path / "found", "images=.", f"checkpoint='{trained}'")
    finds = prediction.predictor(cfg)
    assert [one["name"] for one in finds.categories] == list(KINDS)
    built = build.instantiate(cfg.datamodule)
    built.adapt({"mean": (0.5,) * 3, "std": (0.5,) * 3})
    scene, target = built.dataset("test")[0]
    pixels = (scene * 0.5 + 0.5).mul(255).round().to(torch.uint8)
    expected = finds.model(scene[None], [target])[0]
    found = finds(pixels)
    assert len(found["scores"]) == len(expected["scores"])
    torch.testing.assert_close(found["scores"], expected["scores"], atol=1e-3, rtol=1e-3)


def test_files_named_by_numbers_keep_them(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "val2017"
    folder.mkdir()
    for number in (139, 285):
        Image.fromarray(draw(number, 48).image).save(folder / f"{number:012d}.jpg")
    run.predict(settings(tmp_path / "found", f"images='{folder}'", f"checkpoint='{trained / 'last.ckpt'}'"))
    images = json.loads((tmp_path / "found" / "images.json").read_text())["images"]
    assert [one["id"] for one in images] == [139, 285]


def test_what_cannot_be_read_is_named_or_skipped(trained: Path, photographs: Path, tmp_path: Path) -> None:
    (photographs / "b.jpg").write_text("no image")
    given = (f"images='{photographs}'", f"checkpoint='{trained}'")
    with pytest.raises(ValueError, match=r"b.jpg is not an image that can be read.*on_corrupt=skip") as caught:
        run.predict(settings(tmp_path / "found", *given))
    assert "\n" not in str(caught.value)
    images = json.loads((tmp_path / "found" / "images.json").read_text())["images"]
    assert [Path(one["file_name"]).name for one in images] == ["a.jpg", "a.png"], "what was done before is kept"
    assert (tmp_path / "found" / "pictures" / "a.png.png").is_file()
    run.predict(settings(tmp_path / "skipped", *given, "on_corrupt=skip"))
    assert len(json.loads((tmp_path / "skipped" / "images.json").read_text())["images"]) == 3


def test_what_holds_no_detector_is_refused(photographs: Path, tmp_path: Path) -> None:
    torch.save({"head.weight": torch.zeros(3, 4)}, tmp_path / "classifier.pth")
    cfg = settings(tmp_path / "found", f"images='{photographs}'", f"checkpoint='{tmp_path / 'classifier.pth'}'")
    with pytest.raises(ValueError, match=r"classifier.pth holds no detector: none of its weights is called"):
        run.predict(cfg)


def test_an_interruption_keeps_what_is_finished(
    trained: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, content: Any) -> Path:
        if path.name == "b.png":
            raise KeyboardInterrupt
        return write_whole(path, content)

    monkeypatch.setattr(prediction, "write_whole", write)
    with pytest.raises(KeyboardInterrupt):
        run.predict(settings(tmp_path / "found", f"images='{photographs}'", f"checkpoint='{trained}'"))
    found = tmp_path / "found"
    assert len(json.loads((found / "images.json").read_text())["images"]) == 2
    assert json.loads((found / "detections.json").read_text()) is not None
    assert len(list(found.glob("pictures/*.png"))) == 2


@pytest.fixture
def killed(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """The directory of a prediction of many images that was killed after a few of them."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(400):
        Image.fromarray(np.roll(draw(1, 96).image, number, axis=1)).save(folder / f"{number}.png")
    line = [f"images={folder}", f"checkpoint={trained}", f"hydra.run.dir={tmp_path / 'found'}", "threads=1"]
    process = forked.start(["-m", "atc.dense.predict", *line], tmp_path, environment())
    end = time.monotonic() + 90
    while len(list(tmp_path.glob("found/pictures/*.png"))) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    yield tmp_path / "found"
    shutil.rmtree(folder)


@pytest.mark.slow
def test_a_killed_prediction_leaves_whole_pictures(killed: Path) -> None:
    pictures = list(killed.glob("pictures/*.png"))
    assert 3 <= len(pictures) < 400
    for file in pictures:
        with Image.open(file) as picture:
            picture.load()


@pytest.mark.slow
def test_the_command(trained: Path, photographs: Path, tmp_path: Path) -> None:
    line = [f"images={photographs / 'a.jpg'}", f"checkpoint={trained}", "reducer=tome", "keep_rate=0.7", "threshold=0"]
    done = forked.run(["-m", "atc.dense.predict", *line], tmp_path, environment())
    assert done.returncode == 0, done.stderr
    (directory,) = (tmp_path / "runs" / "predict").iterdir()
    assert (directory / "pictures" / "a.png").is_file()
    assert "1 of 1 images" in done.stdout + done.stderr
    assert "tokens 16 -> 11 -> 7 -> 4" in done.stdout + done.stderr

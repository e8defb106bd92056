"""docs/data.md: its commands and its snippet as they stand, the report that it shows, the layouts and the limits."""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import public
from datamodules.check import main
from datamodules.folder import Folder
from datamodules.imagenet import ImageNet
from datamodules.io import decode, files, matlab, pictures, shards
from datamodules.nabirds import NABirds
from datamodules.nus_wide import NUSWide
from tests.datamodules.on_disk import load, write_class_folders, write_shards
from tests.harness import forked
from tests.harness.commands import ROOT, environment

PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in PAGE.splitlines() if line.startswith("    python ")]
CHECKS = [line for line in COMMANDS if line.startswith("python -m datamodules.check")]
TRAININGS = [line for line in COMMANDS if line not in CHECKS]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader stands: beside pets/ and shards/."""
    found = tmp_path_factory.mktemp("docs")
    for part, each in (("train", 6), ("val", 3)):
        write_class_folders(found / "pets" / part, ["cat", "dog"], each)
    cats, dogs = found / "pets" / "train" / "cat", found / "pets" / "train" / "dog"
    for path in sorted(cats.iterdir())[:3]:
        path.unlink()
    Image.fromarray(np.arange(2304, dtype=np.uint16).reshape(48, 48)).save(cats / "scan.png")
    Image.new("RGBA", (48, 48), (9, 9, 9, 0)).save(cats / "logo.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (48, 40)).save(cats / "phone.jpg", exif=turned)
    for name in ("._0.jpg", "@thumbnail.jpg", "notes.txt", "licence.txt"):
        (dogs / name).write_text("not a picture")
    (found / "pets" / "train" / ".ipynb_checkpoints").mkdir()
    os.mkfifo(dogs / "fifo.jpg")
    (found / "shards").mkdir()
    write_shards(found / "shards", "train", 4, 2)
    write_shards(found / "shards", "val", 4, 2)
    return found


def test_there_are_commands() -> None:
    assert len(CHECKS) >= 4
    assert len(TRAININGS) == 1


@pytest.mark.parametrize("line", CHECKS)
def test_checks(line: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(here)
    status = main(shlex.split(line)[3:])
    out = capsys.readouterr().out.strip()
    assert status == (1 if "imagenet" in line else 0), out  # of which there are not 50,000 pictures here
    if "--decode" in line:
        assert out in PAGE
    assert out.endswith("NOT as published" if "imagenet" in line else "complete")


def test_the_snippet(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(here)
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(snippet, {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"# (.*)", snippet)


def test_layouts(tmp_path: Path) -> None:
    trees = [data.layout.tree for data in (Folder, ImageNet, NABirds, NUSWide)]
    more = load("coco", tmp_path), load("ade20k", tmp_path), load("voc_segmentation", tmp_path)
    for tree in (*trees, *(data.layout.tree for data in more)):
        assert tree.strip() in PAGE


def test_limits() -> None:
    assert f"{decode.MAX_PIXELS:,} pixels, {pictures.MAX_BYTES >> 30} GiB; one side {decode.MAX_RATIO} times" in PAGE
    assert f"annotation file | {files.MAX_LIST >> 30} GiB" in PAGE
    assert f"annotation of VOC {public.MAX_XML >> 20} MiB" in PAGE
    assert f"{matlab.MAX_BYTES >> 20} MiB once inflated" in PAGE
    assert f"(`.cls`, `.json`) | {shards.MAX_LABEL >> 20} MiB" in PAGE
    assert f"`reader`, now {pictures.READER};" in PAGE


@pytest.mark.slow
@pytest.mark.parametrize("line", TRAININGS)
def test_trainings(line: str, here: Path) -> None:
    _, script, *arguments = shlex.split(line)
    done = forked.run([str(ROOT / script), *arguments, "benchmark.seconds=0.05"], here, environment())
    assert done.returncode == 0, done.stderr

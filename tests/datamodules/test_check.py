"""python -m datamodules.check"""

from pathlib import Path

import pytest

from datamodules.check import main, report
from datamodules.imagenet import ImageNet
from datamodules.nabirds import NABirds
from tests.datamodules.on_disk import load, save, write_nabirds


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the miniature be what was published."""
    monkeypatch.setattr(NABirds, "published", {"classes": 3, "train": 18, "test": 9})


@pytest.mark.usefixtures("published")
def test_counts_beside_published_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_nabirds(tmp_path)
    assert main(["datamodule=nabirds", f"datamodule.root={tmp_path}", "--decode"]) == 0
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines()[1:5]] == [
        ["found", "published"],
        ["classes", "3", "3"],
        ["train", "18", "18"],
        ["test", "9", "9"],
    ]
    assert out.strip().endswith("complete")


def test_another_count_is_pointed_out(tmp_path: Path) -> None:
    write_nabirds(tmp_path)
    text, good = report(load("nabirds", tmp_path))
    assert not good
    assert "train             18      23,929   differs" in text


def test_a_part_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ImageNet can be evaluated without train/, but is not complete without."""
    save(tmp_path / "val" / "n01440764" / "0.JPEG", 0)
    monkeypatch.setattr(ImageNet, "published", {"classes": 1000, "train": 1_281_167, "test": 1})
    text, good = report(load("imagenet", tmp_path))
    assert not good
    assert "train              0   1,281,167   missing" in text
    assert text.endswith("NOT as published")


@pytest.mark.usefixtures("published")
def test_missing_and_unreadable_pictures_are_counted(tmp_path: Path) -> None:
    write_nabirds(tmp_path)
    paths, _ = load("nabirds", tmp_path).released["train"]
    Path(paths[2]).unlink()
    Path(paths[5]).write_text("no picture")
    text, good = report(load("nabirds", tmp_path))
    assert not good
    assert f"train: 1 of 18 pictures missing, such as {paths[2]}" in text
    assert "pictures unreadable" not in text
    text, _ = report(load("nabirds", tmp_path), decode=True)
    assert f"train: 1 of 18 pictures unreadable, such as {paths[5]} (not a picture)" in text


def test_errors_are_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datamodule=nabirds", f"datamodule.root={tmp_path}"]) == 1
    assert capsys.readouterr().err.startswith(f"NABirds is missing images.txt in {tmp_path}\nexpected")
    assert main(["datamodule=coco", "datamodule.year=1999"]) == 2
    assert capsys.readouterr().err == "datamodule.year=1999: there are 2014, 2017\n"
    assert main(["datamodule=digits"]) == 0
    assert "has no files to check" in capsys.readouterr().out
    assert main([]) == 2


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("datamodule=nabird", "unknown datamodule 'nabird': did you mean 'nabirds'? there are: "),
        ("datamodule.rot=x", "Could not override 'datamodule.rot'."),
        ("root", "Error parsing override 'root'"),
    ],
)
def test_mistakes_are_one_line(argument: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datamodule=nabirds", argument][argument.startswith("datamodule=") :]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(said)
    assert complaint.count("\n") == 1


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("name", ["2017", "a,b", "${x}"])
def test_folders_named_like_numbers_lists_and_references(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_nabirds(tmp_path / name)
    assert main(["datamodule=nabirds", f"datamodule.root={name}"]) == 0

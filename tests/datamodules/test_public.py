"""The data sets torchvision downloads, read from miniatures in their own formats."""

from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torchvision

from datamodules import check
from datamodules.io.layout import LayoutError
from datamodules.public import VOC_FOLDER, VOC_KINDS, Imagenette
from tests.datamodules import on_disk
from tests.datamodules.on_disk import load

WNIDS = [f"n{1440764 + i:08d}" for i in range(10)]


def _imagenette(root: Path) -> None:
    on_disk.write_class_folders(root / "imagenette2-320" / "train", WNIDS, each=2, suffix="JPEG")
    on_disk.write_class_folders(root / "imagenette2-320" / "val", WNIDS, each=1, suffix="JPEG")


def test_imagenette(tmp_path: Path) -> None:
    _imagenette(tmp_path)
    data = load("imagenette", tmp_path)
    assert data.num_classes == 10
    assert {part: len(entries) for part, (entries, _) in data.parts.items()} == {"train": 18, "val": 2, "test": 10}
    assert data.classes == WNIDS


def test_cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)  # the MD5 sums
    pictures = on_disk.write_cifar100(tmp_path)
    data = load("cifar100", tmp_path, on_corrupt="skip")
    assert data.num_classes == 100
    entries, targets = data.released["test"]
    assert np.array_equal(np.stack(entries), pictures["test"])
    assert targets.tolist() == list(range(100))
    assert data.classes[3] == "thing03"
    image, target = data.pictures("test")[5]
    assert image.shape == (3, 32, 32)
    assert target == 5


def test_flowers102(tmp_path: Path) -> None:
    labels = on_disk.write_flowers(tmp_path)
    data = load("flowers102", tmp_path)
    assert data.num_classes == 102
    assert {part: len(entries) for part, (entries, _) in data.parts.items()} == {"train": 102, "val": 102, "test": 110}
    for entries, targets in data.parts.values():
        numbers = [int(Path(entry).stem.removeprefix("image_")) for entry in entries]
        assert (labels[np.array(numbers) - 1] - 1).tolist() == targets.tolist()


def test_voc_multilabel(tmp_path: Path) -> None:
    found = on_disk.write_voc(tmp_path)
    data = load("voc_multilabel", tmp_path)
    assert data.num_classes == 20
    assert list(VOC_KINDS) == sorted(VOC_KINDS)
    for part, name in (("train", "trainval"), ("test", "test")):
        entries, targets = data.released[part]
        assert all(Path(entry).is_file() for entry in entries)
        rows = [{VOC_KINDS[i] for i in row.nonzero().flatten()} for row in targets]
        assert rows == found[name]


def test_damaged_annotations_of_voc_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on_disk.write_voc(tmp_path)
    path = tmp_path / VOC_FOLDER / "Annotations" / "000003.xml"
    for content, said in (
        ("<annotation><object><name>unicorn</name></object></annotation>", f"{path}: 'unicorn' is none of the kinds"),
        ("<annotation><object>", f"{path}: no element found"),
        (None, f"[Errno 2] No such file or directory: '{path}'"),
    ):
        path.unlink()
        if content is not None:
            path.write_text(content)
        assert check.main(["datamodule=voc_multilabel", f"datamodule.root={tmp_path}"]) == 1
        complaint = capsys.readouterr().err
        assert complaint.startswith(said)
        assert complaint.count("\n") == 1
        path.touch()


def test_damaged_files_of_cifar_are_named(tmp_path: Path) -> None:
    on_disk.write_cifar100(tmp_path)  # whose MD5 sums are others
    with pytest.raises(ValueError, match=rf"^{tmp_path}/cifar-100-python is damaged, by its MD5 sums: without it, "):
        _ = load("cifar100", tmp_path).released


@pytest.mark.parametrize("name", ["imagelabels.mat", "setid.mat"])
def test_damaged_files_of_flowers_are_one_line(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    on_disk.write_flowers(tmp_path)
    path = tmp_path / "flowers-102" / name
    content = path.read_bytes()
    for damaged in (b"", content[:60], content[: len(content) // 2], b"x" * 500):
        path.write_bytes(damaged)
        assert check.main(["datamodule=flowers102", f"datamodule.root={tmp_path}"]) == 1
        complaint = capsys.readouterr().err
        assert complaint.startswith(f"{path} is damaged, or no .mat file: ")
        assert complaint.count("\n") == 1, complaint


def test_nothing_is_downloaded_unless_asked(tmp_path: Path) -> None:
    data = load("imagenette", tmp_path, download=False)
    data.prepare_data()
    with pytest.raises(LayoutError, match=r"(?s)missing imagenette2-320/train/ in .*datamodule.download=true"):
        _ = data.released


def test_what_is_missing_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(self: Imagenette, root: Path) -> None:
        asked.append(root)
        _imagenette(root)

    monkeypatch.setattr(Imagenette, "fetch", fetch)
    for _ in range(2):
        data = load("imagenette", tmp_path / "new")
        data.prepare_data()
        assert len(data.released["train"][0]) == 20
    assert asked == [tmp_path / "new"]


def test_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fetch(self: Imagenette, root: Path) -> None:
        raise URLError("no network")

    monkeypatch.setattr(Imagenette, "fetch", fetch)
    with pytest.raises(ConnectionError, match=r"Imagenette is not in .* cannot be downloaded .*no network.*fastai"):
        load("imagenette", tmp_path).prepare_data()
    assert check.main(["datamodule=imagenette", f"datamodule.root={tmp_path}"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Imagenette is not in ")
    assert len(said.strip().splitlines()) == 1

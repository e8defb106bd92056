"""Shards, lists of ImageNet and Parquet files from somebody else: nothing in them is believed unmeasured."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from datamodules.io import shards
from tests.datamodules import on_disk
from tests.datamodules.on_disk import load


def write_shard(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("0.json", b"[" * 100_000, "holds no class: maximum recursion depth"),
        ("0.json", b"[1]", r"holds no class: expected an object with a label, found '\[1\]'"),
        ("0.json", b'{"label": 1e400}', "holds no class: expected a whole number"),
        ("0.json", b'{"label": 3.5}', "holds no class: expected a whole number, found '3.5'"),
        ("0.cls", b"NaN", "holds no class: expected a whole number"),
        ("0.cls", b" " * (shards.MAX_LABEL + 1), "has 1,048,577 bytes, of which at most 1,048,576 are read"),
    ],
)
def test_classes_in_shards(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / "imagenet1k-val-0000.tar"
    write_shard(path, [(tarfile.TarInfo("0.jpg"), b"x"), (tarfile.TarInfo(name), content)])
    with pytest.raises(ValueError, match=rf"^{path}, {name} {said}"):
        _ = load("imagenet", tmp_path, source="webdataset").released


def test_what_is_no_picture_in_a_shard(tmp_path: Path) -> None:
    on_disk.write_shards(tmp_path, "val", 3, 8)
    path = tmp_path / "imagenet1k-val-0000.tar"
    with tarfile.open(path, "a") as tar:
        for name in ("._n01440764_0.jpg", "__MACOSX/x.jpg", "@eaDir/n01440764_0.cls"):
            tar.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("round.cls")
        link.type, link.linkname = tarfile.SYMTYPE, "round.cls"
        tar.addfile(link)
    data = load("imagenet", tmp_path, source="webdataset")
    assert len(data.released["test"][0]) == 3
    assert sum(data.listing.left_out.values()) == 4
    os.mkfifo(tmp_path / "more-val-0001.tar")
    assert len(load("imagenet", tmp_path, source="webdataset").released["test"][0]) == 3


@pytest.mark.parametrize("harm", ["fifo", "bomb", "outside", "short", "pickle"])
def test_the_list_beside_the_shards_is_not_believed(tmp_path: Path, harm: str) -> None:
    on_disk.write_shards(tmp_path, "val", 5, 8)
    cache = tmp_path / ".test-index.npz"
    expected = load("imagenet", tmp_path, source="webdataset").released["test"]
    with np.load(cache) as known:
        columns = dict(known)
    cache.unlink()
    if harm == "fifo":
        os.mkfifo(cache)
    elif harm == "bomb":
        with zipfile.ZipFile(cache, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("stamp.npy", bytes(1 << 25))
    else:
        columns["which"] = {
            "outside": columns["which"] + 7,
            "short": columns["which"][:-1],
            "pickle": columns["which"].astype(object),
        }[harm]
        np.savez(cache, **columns)
    found = load("imagenet", tmp_path, source="webdataset").released["test"]
    assert found[0] == expected[0]
    assert (found[1] == expected[1]).all()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "LOC_val_solution.csv",
            "ImageId,PredictionString\nILSVRC2012_val_00000001,\n",
            "line 2: expected ImageId and",
        ),
        ("LOC_val_solution.csv", f"ImageId,PredictionString\n{'x' * 200_000},y\n", "line 1: field larger than"),
        (
            "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
            "1\nx\n",
            "line 2: expected a whole number",
        ),
        (
            "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
            "1\n77\n",
            "line 2: meta.mat has no class 77",
        ),
    ],
)
def test_lists_of_imagenet(tmp_path: Path, name: str, content: str, said: str) -> None:
    on_disk.write_flat_imagenet(tmp_path, ["n01440764", "n15075141"], "kaggle" if "LOC" in name else "devkit")
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"^{tmp_path / name}, {said}"):
        _ = load("imagenet", tmp_path).released


def test_parquet_files_are_read_and_nothing_that_describes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A README may name other files, here or elsewhere; a row may name a picture instead of holding one."""
    datasets = pytest.importorskip("datasets", reason="an extra: pip install 'atc-toolkit[hf]'")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    secret = tmp_path / "secret.jpg"
    on_disk.save(secret, 0)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    rows = {
        "image": [{"bytes": secret.read_bytes(), "path": None}, {"bytes": None, "path": str(secret)}],
        "label": [1, 2],
    }
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet")
    (tmp_path / "data" / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: ../../x\n---\n")
    (tmp_path / "data" / "data.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    data = load("imagenet", tmp_path / "data", source="hf", on_corrupt="skip")
    assert sum(len(targets) for _, targets in data.test_dataloader()) == 1
    assert data.corrupt == ["validation 1"]
    assert not (tmp_path / "ran").exists()

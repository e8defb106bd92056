"""ImageNet in its other forms: flat val/, shards, parquet."""

import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import ImageNetInfo

from datamodules.io.layout import LayoutError
from datamodules.io.pictures import CorruptImage
from datamodules.scenes import draw
from tests.datamodules.on_disk import load, write_class_folders, write_flat_imagenet, write_shards

WNIDS = ["n02123045", "n01440764", "n15075141", "n01440764", "n02099601"]
INDICES = [ImageNetInfo().label_names().index(wnid) for wnid in WNIDS]


@pytest.mark.parametrize("labels", ["devkit", "kaggle"])
def test_flat_val(tmp_path: Path, labels: str) -> None:
    names = write_flat_imagenet(tmp_path, WNIDS, labels)
    data = load("imagenet", tmp_path)
    entries, targets = data.released["test"]
    assert [Path(entry).name for entry in entries] == names
    assert targets.tolist() == INDICES
    (tmp_path / "val" / names[1]).unlink()  # a part of the photographs will do
    assert load("imagenet", tmp_path).released["test"][1].tolist() == INDICES[:1] + INDICES[2:]


def test_flat_val_beside_train_folders(tmp_path: Path) -> None:
    write_flat_imagenet(tmp_path, WNIDS)
    write_class_folders(tmp_path / "train", ["n01440764", "n02099601"], each=10)
    data = load("imagenet", tmp_path, held_out=0.1)
    assert {part: len(entries) for part, (entries, _) in data.parts.items()} == {"train": 18, "val": 2, "test": 5}


def test_a_devkit_without_its_numbers(tmp_path: Path) -> None:
    write_flat_imagenet(tmp_path, WNIDS)
    (tmp_path / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").unlink()
    with pytest.raises(LayoutError, match=r"is missing meta.mat beside .*ILSVRC2012_validation_ground_truth.txt"):
        _ = load("imagenet", tmp_path).released


def test_flat_val_without_its_classes(tmp_path: Path) -> None:
    write_flat_imagenet(tmp_path, WNIDS, "kaggle")
    (tmp_path / "LOC_val_solution.csv").rename(tmp_path / "elsewhere.csv")
    with pytest.raises(LayoutError, match=r"is missing the classes of the photographs in .*LOC_val_solution.csv"):
        _ = load("imagenet", tmp_path).released
    (tmp_path / "elsewhere.csv").rename(tmp_path / "LOC_val_solution.csv")
    (tmp_path / "val" / "holiday.jpg").touch()
    with pytest.raises(ValueError, match=r"1 photographs have no class .*holiday.jpg"):
        _ = load("imagenet", tmp_path).released
    with pytest.raises(ValueError, match="source=lmdb: there are folders, webdataset, hf"):
        load("imagenet", tmp_path, source="lmdb")


@pytest.mark.parametrize("suffix", ["cls", "json"])
def test_shards(tmp_path: Path, suffix: str) -> None:
    targets = write_shards(tmp_path, "train", 20, 8, suffix)
    write_shards(tmp_path, "validation", 5, 8, suffix)
    for _ in range(2):  # the second time from the list kept beside the shards
        data = load("imagenet", tmp_path, source="webdataset")
        assert data.released["train"][1].tolist() == list(targets.values())
        assert len(data.released["test"][0]) == 5
    assert sorted(path.name for path in tmp_path.glob(".*")) == [".test-index.npz", ".train-index.npz"]
    pictures = data.pictures("test")
    whole = draw(3, 32).image
    decoded = pictures.read(pictures.entries[3])
    assert abs(torch.tensor(list(decoded.tobytes())).float() - torch.from_numpy(whole).flatten()).mean() < 12
    images, _ = next(iter(data.train_dataloader()))
    assert images.shape == (4, 3, 32, 32)


def test_shards_that_changed_are_listed_anew(tmp_path: Path) -> None:
    write_shards(tmp_path, "val", 5, 8)
    assert len(load("imagenet", tmp_path, source="webdataset").released["test"][0]) == 5
    write_shards(tmp_path, "val", 7, 8)
    os.utime(tmp_path / "imagenet1k-val-0000.tar", (1, 1))
    assert len(load("imagenet", tmp_path, source="webdataset").released["test"][0]) == 7


def test_a_broken_picture_in_a_shard_is_named_by_its_place(tmp_path: Path) -> None:
    write_shards(tmp_path, "val", 3, 8)
    shard = tmp_path / "imagenet1k-val-0000.tar"
    content = shard.read_bytes()
    at = content.index(b"\xff\xd8")
    shard.write_bytes(content[:at] + b"xx" + content[at + 2 :])
    with pytest.raises(CorruptImage, match=rf"cannot read \S+imagenet1k-val-0000.tar {at} \d+ \(not a picture\)"):
        list(load("imagenet", tmp_path, source="webdataset").test_dataloader())


def test_a_class_that_there_is_not(tmp_path: Path) -> None:
    write_shards(tmp_path, "val", 5, 8)
    shard = tmp_path / "imagenet1k-val-0000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"111".ljust(512, b"\0"), b"-11".ljust(512, b"\0")))
    said = rf"1 test pictures have a class that is none of 0..999, such as {shard} \d+ \d+ with -11"
    with pytest.raises(ValueError, match=said):
        _ = load("imagenet", tmp_path, source="webdataset").released


@pytest.mark.parametrize("damage", ["within a header", "within a picture", "before the end", "empty", "compressed"])
def test_a_shard_that_is_not_whole(tmp_path: Path, damage: str) -> None:
    write_shards(tmp_path, "val", 5, 8)
    shard = tmp_path / "imagenet1k-val-0000.tar"
    content = shard.read_bytes()
    last = content.rindex(b"n01440764_4.jpg")  # the header of the last picture
    cut = {"within a header": last + 100, "within a picture": last + 512 + 300, "before the end": last + 512 * 2}
    left = content[: cut.get(damage, 0)]
    shard.write_bytes(gzip.compress(content) if damage == "compressed" else left)
    with pytest.raises(ValueError, match=rf"^{shard} is no whole, uncompressed tar file: [\d,]+ bytes"):
        _ = load("imagenet", tmp_path, source="webdataset").released


def test_what_is_wrong_within_a_shard_is_named(tmp_path: Path) -> None:
    write_shards(tmp_path, "val", 3, 8)
    shard = tmp_path / "imagenet1k-val-0000.tar"
    content = shard.read_bytes()
    shard.write_bytes(content.replace(b"37".ljust(512, b"\0"), b"x7".ljust(512, b"\0")))
    with pytest.raises(ValueError, match=rf"^{shard}, n01440764_1.cls holds no class: Expecting value"):
        _ = load("imagenet", tmp_path, source="webdataset").released
    shard.write_bytes(b"x" * 512 + content[512:])
    with pytest.raises(ValueError, match=rf"^{shard} is damaged: "):
        _ = load("imagenet", tmp_path, source="webdataset").released


def test_the_list_beside_the_shards_is_for_everybody(tmp_path: Path) -> None:
    write_shards(tmp_path, "val", 5, 8)
    cache, before = tmp_path / ".test-index.npz", os.umask(0o027)
    try:
        _ = load("imagenet", tmp_path, source="webdataset").released
    finally:
        os.umask(before)
    assert cache.stat().st_mode & 0o777 == 0o640
    whole = cache.read_bytes()
    for damaged in (b"", b"no list", whole[:-40]):
        cache.write_bytes(damaged)
        assert len(load("imagenet", tmp_path, source="webdataset").released["test"][0]) == 5
        assert cache.read_bytes() == whole


@pytest.mark.parametrize("denied", ["read", "write"])
def test_a_list_that_is_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denied: str) -> None:
    write_shards(tmp_path, "val", 5, 8)
    if denied == "read":
        _ = load("imagenet", tmp_path, source="webdataset").released

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(np, "load" if denied == "read" else "savez", refuse)
    assert len(load("imagenet", tmp_path, source="webdataset").released["test"][0]) == 5
    assert not list(tmp_path.glob(".*partial"))


def test_a_class_the_devkit_lacks(tmp_path: Path) -> None:
    write_flat_imagenet(tmp_path, WNIDS, "kaggle")
    path = tmp_path / "LOC_val_solution.csv"
    path.write_text(path.read_text().replace("n15075141", "n99999999"))
    with pytest.raises(ValueError, match=r"^ImageNet in .* a list is damaged or incomplete \(KeyError: 'n99999999'\)"):
        _ = load("imagenet", tmp_path).released


def test_what_shards_lack_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"is missing \*val\*.tar in "):
        _ = load("imagenet", tmp_path, source="webdataset").released


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="an extra: pip install 'atc-toolkit[hf]'")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(1000)})
    for split, count in (("train", 20), ("validation", 6), ("test", 4)):
        rows = {"image": [], "label": []}
        for i in range(count):
            picture = io.BytesIO()
            Image.fromarray(draw(i, 32).image).save(picture, "PNG")
            rows["image"].append({"bytes": b"broken" if (split, i) == ("validation", 4) else picture.getvalue()})
            rows["label"].append(-1 if split == "test" else 37 * i)
        for shard in range(2):
            table = datasets.Dataset.from_dict(rows, features).shard(2, shard, contiguous=True)
            (tmp_path / "in1k" / "data").mkdir(parents=True, exist_ok=True)
            table.to_parquet(tmp_path / "in1k" / "data" / f"{split}-{shard:05d}-of-00002.parquet")
    data = load("imagenet", tmp_path / "in1k", source="hf", on_corrupt="skip", held_out=0.1)
    assert {part: len(entries) for part, (entries, _) in data.parts.items()} == {"train": 18, "val": 2, "test": 6}
    assert data.released["train"][1].tolist() == [37 * i for i in range(20)]
    whole = torch.from_numpy(draw(3, 32).image)
    pictures = data.pictures("test")
    decoded = torch.tensor(list(pictures.read(pictures.entries[3]).tobytes())).view(32, 32, 3)
    assert (decoded == whole).all()
    assert torch.cat([targets for _, targets in data.test_dataloader()]).tolist() == [0, 37, 74, 111, 185]
    assert data.corrupt == ["validation 4"]
    with pytest.raises(LayoutError, match="neither a folder with some nor on the hub"):
        _ = load("imagenet", tmp_path / "nowhere", source="hf").released

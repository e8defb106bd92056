"""The reference set: the first photographs of each class, as they are, from every form of ImageNet."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from atc.diffusion.image_directory import images_in
from atc.diffusion.reference import build_reference, main

CLASSES = ("n01440764", "n01443537", "n01484850")


def jpeg(number):
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()


def folders(root, counts=(3, 4, 1)):
    """Photographs numbered over all classes, written in another order than that of their names."""
    for index, (name, count) in enumerate(zip(CLASSES, counts, strict=True)):
        (root / name).mkdir(parents=True)
        for number in reversed(range(count)):
            (root / name / f"ILSVRC2012_val_{3 * number + index + 1:08d}.JPEG").write_bytes(jpeg(3 * number + index))
    return root


def expected(per_class=2, counts=(3, 4, 1)):
    return {
        f"ILSVRC2012_val_{3 * number + index + 1:08d}.JPEG": jpeg(3 * number + index)
        for index, count in enumerate(counts)
        for number in range(min(count, per_class))
    }


def copied(place):
    return {path.name: path.read_bytes() for path in images_in(place)}


@pytest.mark.parametrize("inside", [True, False])
def test_class_folders(inside, tmp_path):
    root = folders(tmp_path / "imagenet" / "val")
    said = build_reference(root if inside else root.parent, tmp_path / "out", 2)
    assert copied(tmp_path / "out") == expected()
    assert said[0].startswith("5 photographs of 3 classes")
    assert said[1] == "1 classes have fewer than 2 photographs"
    classes = json.loads((tmp_path / "out" / "images.json").read_text())["classes"]
    assert sorted(classes.values()) == sorted([CLASSES[0]] * 2 + [CLASSES[1]] * 2 + [CLASSES[2]])
    assert classes["ILSVRC2012_val_00000001.JPEG"] == CLASSES[0]


@pytest.mark.parametrize("inside", [True, False])
def test_one_folder_with_kaggles_list(inside, tmp_path):
    files = folders(tmp_path / "sorted")
    (tmp_path / "imagenet" / "val").mkdir(parents=True)
    lines = ["ImageId,PredictionString"]
    for path in files.glob("*/*.JPEG"):
        (tmp_path / "imagenet" / "val" / path.name).write_bytes(path.read_bytes())
        lines.append(f"{path.stem},{path.parent.name} 1 1 5 5")
    (tmp_path / "imagenet" / "LOC_val_solution.csv").write_text("\n".join(lines))
    build_reference(tmp_path / "imagenet" / ("val" if inside else ""), tmp_path / "out", 2)
    assert copied(tmp_path / "out") == expected()


def test_shards(tmp_path):
    files = folders(tmp_path / "sorted")
    (tmp_path / "imagenet").mkdir()
    numbers = {name: str(index).encode() for index, name in enumerate(CLASSES)}
    with tarfile.open(tmp_path / "imagenet" / "imagenet1k-val-0.tar", "w") as tar:
        for path in sorted(files.glob("*/*.JPEG"), reverse=True):
            for name, content in ((path.name, path.read_bytes()), (f"{path.stem}.cls", numbers[path.parent.name])):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    build_reference(tmp_path / "imagenet", tmp_path / "out", 2, source="webdataset")
    assert copied(tmp_path / "out") == expected()


def test_tables_of_the_hub(tmp_path):
    datasets = pytest.importorskip("datasets")
    files = sorted(folders(tmp_path / "sorted").glob("*/*.JPEG"), reverse=True)
    rows = {
        "image": [{"bytes": path.read_bytes(), "path": path.name} for path in files],
        "label": [CLASSES.index(path.parent.name) for path in files],
    }
    form = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    (tmp_path / "imagenet" / "data").mkdir(parents=True)
    datasets.Dataset.from_dict(rows, features=form).to_parquet(tmp_path / "imagenet" / "data" / "validation-0.parquet")
    build_reference(tmp_path / "imagenet", tmp_path / "out", 2, source="hf")
    assert copied(tmp_path / "out") == expected()


def test_it_goes_on_where_it_was_cut_off(tmp_path):
    root = folders(tmp_path / "val")
    build_reference(root, tmp_path / "out", 2)
    first, second, *_ = images_in(tmp_path / "out")
    first.unlink()
    second.write_bytes(b"half")
    with pytest.raises(ValueError, match="it is not finished"):
        images_in(tmp_path / "out")
    assert build_reference(root, tmp_path / "out", 2)[0].endswith("2 of them copied now")
    assert copied(tmp_path / "out") == expected()
    with pytest.raises(ValueError, match=r"holds 2 other files, such as ILSVRC2012_val_0000000"):
        build_reference(root, tmp_path / "out", 1)
    build_reference(root, tmp_path / "out", 3)
    assert copied(tmp_path / "out") == expected(3)


def test_equal_names_get_their_class_before_them(tmp_path):
    for name in ("cat", "dog"):
        for part in ("a", "b"):
            (tmp_path / "val" / name / part).mkdir(parents=True)
            (tmp_path / "val" / name / part / "1.jpg").write_bytes(jpeg(len(name + part)))
    build_reference(tmp_path / "val", tmp_path / "out")
    assert sorted(copied(tmp_path / "out")) == ["cat_1.jpg", "cat_1_1.jpg", "dog_1.jpg", "dog_1_1.jpg"]


def test_the_command(tmp_path, capsys):
    root = folders(tmp_path / "val")
    assert main([f"root={root}", f"output={tmp_path / 'out'}", "per_class=2"]) == 0
    assert "5 photographs of 3 classes" in capsys.readouterr().out
    for given, said in (
        ([f"root={root}"], "output=VALUE is missing"),
        ([f"root={root}", f"output={root}"], "holds 3 other files"),
        ([f"root={root}", f"output={root}/{CLASSES[2]}/{next((root / CLASSES[2]).iterdir()).name}"], "is a file"),
        ([f"root={tmp_path}/none", "output=out"], "ImageNet is missing the folder"),
        ([f"root={root}", "output=out", "per_class=0"], "per_class=0 must be 1 or more"),
        ([f"root={root}", "output=out", "source=zip"], "source=zip must be folders, webdataset or hf"),
    ):
        assert main(given) == 2
        assert said in capsys.readouterr().err
    assert "per_class=5" in (main(["-h"]), capsys.readouterr().out)[1]

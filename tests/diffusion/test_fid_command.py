"""Directories of images against each other: what is compared, kept, said and refused."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from atc.diffusion.fid import compare, frechet_distance, kernel_distance
from atc.diffusion.fid.cache import FeatureCache
from atc.diffusion.fid.command import main
from atc.diffusion.fid.extracting import extract
from atc.diffusion.fid.networks import RandomFeatures, network, of_module
from atc.diffusion.fid.resize import resized
from atc.diffusion.fid.spread import by_seed, dealt
from atc.diffusion.image_directory import images_in, write_record


def draw(directory, names, seed=0, side=24):
    generator = np.random.default_rng(seed)
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(generator.integers(0, 256, (side, side + 3, 3), dtype=np.uint8)).save(directory / name)
    return directory


@pytest.fixture
def sets(tmp_path, monkeypatch):
    monkeypatch.setenv("ATC_CACHE", str(tmp_path / "cache"))
    generated = draw(tmp_path / "generated", [f"{c}_{i}.png" for c in range(6) for i in range(2)])
    reference = draw(tmp_path / "reference", [f"{n:02}.jpg" for n in range(20)], seed=1, side=40)
    return generated, reference


def plain_features(directory):
    pixels = torch.stack([torch.from_numpy(resized(path, "clean")).permute(2, 0, 1) for path in images_in(directory)])
    return RandomFeatures()(pixels).double().numpy()


def test_a_record_of_two_directories(sets):
    x, y = map(plain_features, sets)
    record = compare(*sets, features="random", batch_size=5, threads=2, device="cpu")
    assert record["fid"]["value"] == pytest.approx(frechet_distance(x, y), rel=1e-5)
    assert record["kid"]["value"] == pytest.approx(kernel_distance(x, y).value, rel=1e-4)
    seeds = record["fid"]["seeds"]
    assert seeds["images"] == 6
    assert seeds["values"] == pytest.approx([frechet_distance(x[i::2], y) for i in range(2)], rel=1e-5)
    assert seeds["std"] == pytest.approx(np.std(seeds["values"], ddof=1))
    parts = record["fid"]["reference_subsets"]
    assert parts["images"] == 4
    assert parts["values"] == pytest.approx([frechet_distance(x, y[part::5]) for part in range(5)], rel=1e-5)
    assert record["generated"] == [{"directory": str(sets[0]), "images": 12}]
    assert json.loads(json.dumps(record)) == record


def test_several_directories_are_seeds(sets, tmp_path):
    other = draw(tmp_path / "other", [f"{c}_{i}.png" for c in range(6) for i in range(2)], seed=5)
    x, y, z = map(plain_features, (*sets, other))
    record = compare([sets[0], other], sets[1], features="random", reference_subsets=1, device="cpu", cache=False)
    values = [frechet_distance(x, y), frechet_distance(z, y)]
    assert record["fid"]["value"] == pytest.approx(np.mean(values), rel=1e-5)
    assert record["fid"]["seeds"]["values"] == record["fid"]["directories"] == pytest.approx(values, rel=1e-5)
    assert record["kid"]["value"] == pytest.approx(kernel_distance(np.concatenate([x, z]), y).value, rel=1e-4)
    assert "reference_subsets" not in record["fid"]


def counting():
    class Counting(RandomFeatures):
        seen = 0

        def forward(self, pixels):
            Counting.seen += len(pixels)
            return super().forward(pixels)

    return Counting()


def test_no_image_passes_the_network_twice(sets, tmp_path):
    module = counting()
    known = of_module(module, "counting 1", 16)
    options = {"features": known, "device": "cpu"}
    first = compare(*sets, **options)
    assert type(module).seen == 32
    assert compare(*sets, **options) == first
    assert type(module).seen == 32
    os.replace(sets[0] / "0_0.png", sets[0] / "9_0.png")  # known by what it holds
    draw(sets[0], ["0_0.png"], seed=9)
    compare(*sets, **options)
    assert type(module).seen == 33
    compare(*sets, **options, resizer="torch_fidelity")
    assert type(module).seen == 33 + 33
    for file in (tmp_path / "cache" / "features").glob("*/*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    compare(*sets, **options)
    assert type(module).seen == 33 + 33 + 33


def test_images_before_one_that_cannot_be_read_are_kept(sets, tmp_path):
    paths = images_in(sets[1])
    paths[11].write_bytes(b"none")
    module = counting()
    known = of_module(module, "counting 2", 16)
    with pytest.raises(ValueError, match=r"11\.jpg cannot be read"):
        extract(paths, known, cache=tmp_path / "kept", batch_size=4, threads=1)
    assert type(module).seen >= 4
    assert len(FeatureCache(tmp_path / "kept", f"{known.identity} clean", 16).read()) == type(module).seen


def test_features_that_are_not_finite_are_refused_and_not_used_from_the_cache(sets):
    class Broken(nn.Module):
        def forward(self, pixels):
            return pixels.mean((2, 3)) / 0

    with pytest.raises(ValueError, match="generated images has features that are not finite"):
        compare(*sets, features=of_module(Broken(), "broken", 3), device="cpu")


def test_seeds_and_parts():
    from pathlib import Path

    names = [Path(f"x/{c}_{i}.png") for c in (0, 1, 10) for i in (0, 1)]
    assert by_seed(names) == {"0": [0, 2, 4], "1": [1, 3, 5]}
    assert by_seed(names[:-1]) == by_seed([Path("a.png"), Path("b.png")]) == by_seed(names[::2]) == {}
    assert dealt(names, 3) == [[0, 3], [1, 4], [2, 5]]
    assert dealt(names, 4) == dealt(names, 1) == []
    classes = {"0_0.png": "b", "0_1.png": "b", "1_0.png": "a", "1_1.png": "a", "10_0.png": "c", "10_1.png": "c"}
    assert dealt(names, 2, classes) == [[2, 0, 4], [3, 1, 5]]


def test_a_directory_that_is_not_finished_is_no_number(sets, capsys):
    generated, reference = sets
    write_record(generated, 13)
    assert main([f"generated={generated}", f"reference={reference}", "features=random"]) == 2
    said = capsys.readouterr().err
    assert "holds 12 images, its images.json says 13: it is not finished" in said
    assert said.count("\n") == 1
    write_record(generated, 11)
    with pytest.raises(ValueError, match="others have been added"):
        images_in(generated)
    for text in ("{", "[]", '{"images": "2000"}', '{"images": true}', '{"images": 0}'):
        (generated / "images.json").write_text(text)
        with pytest.raises(ValueError, match=r"images\.json (is no JSON|does not say)"):
            images_in(generated)
    write_record(generated, 12, settings={})
    draw(generated, ["contact_sheet.png", ".partial.png"])
    assert len(images_in(generated)) == 12


def test_the_command(sets, tmp_path, capsys):
    generated, reference = sets
    output = tmp_path / "numbers" / "fid.json"
    given = [f"generated=[{generated},{generated}]", f"reference={reference}", "features=random", f"output={output}"]
    assert main(given) == 0
    said = capsys.readouterr().out
    for line in (
        "12, 12 generated images against 20 of",
        "FID   ",
        "mean of",
        "of other seeds, 12 images each",
        "KID  ",
    ):
        assert line in said
    record = json.loads(output.read_text())
    assert {"fid", "kid", "commit", "machine", "versions", "resizer", "features", "seed"} <= record.keys()
    assert main(["--help"]) == 0
    assert "reference_subsets=5" in capsys.readouterr().out
    assert main([f"generated={generated}", f"reference={reference}", f"weights={tmp_path}/none.pth"]) == 2
    assert "none.pth does not exist" in capsys.readouterr().err
    assert main([f"generated={generated}", f"reference={reference}", "features=random", f"weights={output}"]) == 2
    assert "features=random has its own" in capsys.readouterr().err


def test_network_names():
    assert network("random").features == 16
    with pytest.raises(ValueError, match="features=vgg must be inception or random"):
        network("vgg")

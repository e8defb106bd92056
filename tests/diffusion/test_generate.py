"""Images of a run: what they are made from, that they come out the same however they are made, and what is refused."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atc import run
from atc.diffusion import image_set, pipelines, prompts, sampling, sheets
from atc.diffusion.prompts import wanted_images
from atc.files import write_whole
from atc.run import generation
from atc.runs.identity import identity
from atc.runs.store import Store
from tests.diffusion.generating import SIDE, composed, pipeline

pytest.importorskip("diffusers")


def pixels(directory: Path) -> dict[str, list[int]]:
    return {path.name: np.asarray(Image.open(path)).ravel().tolist() for path in sorted(directory.glob("*.png"))}


def images_of(cfg) -> Path:
    return generation.image_set(cfg).directory


def test_the_prompts_are_those_of_the_paper():
    every = list(wanted_images("imagenet", 2))
    assert prompts.sha256([one.prompt for one in every[::2]]) == (
        "2d06df0214b1b5633382c73f00b364e6fae30e15af6cafa99fc86561368f10b7"
    )
    assert [one.seed for one in every] == [10 * c + i for c in range(1000) for i in range(2)]
    assert [one.file for one in every[:3]] == ["0_0.png", "0_1.png", "1_0.png"]
    assert every[269].prompt == "A high quality photograph of a crane, a type of bird."
    other = {one.seed for one in wanted_images("imagenet", 2, seed=1)}
    assert len(other) == 2000
    assert not other & {one.seed for one in every}


def test_classes_of_a_file(tmp_path: Path):
    write_whole(tmp_path / "names.txt", "magpie\n\ntench, Tinca tinca\n")
    found = list(wanted_images(tmp_path / "names.txt", 1, "A drawing of a {}, a {}!"))
    assert [(one.class_index, one.prompt) for one in found] == [
        (0, "A drawing of a magpie, a magpie!"),
        (1, "A drawing of a tench, Tinca tinca, a tench, Tinca tinca!"),
    ]


def test_a_run_goes_on_and_is_as_the_pipeline_alone(tmp_path: Path):
    cfg = composed(tmp_path, "reducer=tome_2d", "keep_rate=0.6", "reducer.sx=2")
    record = run.generate(cfg)
    directory = images_of(cfg)
    first = pixels(directory)
    assert list(first) == ["0_0.png", "134_0.png"]
    assert (record.status, record.keep_rate or cfg.keep_rate) == ("finished", 0.6)
    assert record.result("off_the_shelf") == {"images": 2, "images_of": 2}
    assert record.result("seconds_per_image")["mean"] > 0
    assert record.part("tokens_merged")[0].endswith("attn1: 64 -> 39")
    (stored,) = Store(tmp_path / "runs" / "store").records()
    assert (stored.reducer, stored.keep_rate, stored.config["merging"]["keep_rate"]) == ("tome_2d", 0.6, 0.6)

    made = pipelines.load_pipeline(pipeline(), "fp32", torch.device("cpu"))
    from atc.diffusion import reduce

    with reduce(made, "tome_2d", 0.6):
        alone = made(
            "A high quality photograph of a crane, a type of bird.",
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(1340),
        ).images[0]
    assert np.asarray(alone).ravel().tolist() == first["134_0.png"]

    about = image_set.read_about(directory / "134_0.png")
    assert about["prompt"] == "A high quality photograph of a crane, a type of bird."
    assert (about["seed"], about["device"], about["precision"]) == (1340, "cpu", "fp32")
    assert about["settings"]["merging"]["keep_rate"] == 0.6
    assert about["seconds"] > 0
    assert json.loads((directory / "images.json").read_text())["images"] == 2

    (directory / "0_0.png").unlink()
    (directory / ".0_0.png.abc.partial").write_bytes(b"\x89PNG")
    kept = (directory / "134_0.png").stat().st_mtime_ns
    assert run.generate(cfg).status == "finished"
    assert pixels(directory) == first
    assert (directory / "134_0.png").stat().st_mtime_ns == kept
    assert sorted(path.name for path in directory.iterdir()) == ["0_0.png", "134_0.png", "images.json"]
    assert run.generate(cfg).status == "finished"
    assert Image.open(Path(cfg.output_dir) / "contact_sheet.png").width > 256


def test_shards_and_a_helper_make_the_same_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = composed(tmp_path / "whole", "reducer=none", "classes=[0,1,2]")
    run.generate(whole)
    parts = [composed(tmp_path / "parts", "reducer=none", "classes=[0,1,2]", f"shard={n}/2") for n in range(2)]
    assert run.generate(parts[0]).status is None
    assert len(pixels(images_of(parts[0]))) == 2
    assert run.generate(parts[1]).status == "finished"
    assert pixels(images_of(parts[1])) == pixels(images_of(whole))
    assert parts[0].output_dir == parts[1].output_dir

    rank = composed(tmp_path / "rank", "reducer=none", "classes=[0,1,2]")
    monkeypatch.setenv("RANK", "1")
    assert run.generate(rank).status is None
    assert pixels(images_of(rank)) == pixels(images_of(whole))
    assert not Path(rank.output_dir, "results.json").exists()


def test_an_image_does_not_depend_on_those_before_it(tmp_path: Path):
    """Neither what is drawn for it nor in which steps tokens merge."""
    point = ["reducer=tome_2d", "merging.seed=3", "merging.steps=[1,2]", "merging.every=2", "sampling.steps=3"]
    both = composed(tmp_path, *point)
    assert "merging.every=2 is ours, not of the papers" in run.generate(both).notices
    alone = composed(tmp_path, *point, "classes=[134]")
    run.generate(alone)
    found = pixels(images_of(both))
    assert pixels(images_of(alone)) == {"134_0.png": found["134_0.png"]}
    for other in ("merging.seed=4", "merging.steps=null", "reducer=none"):
        cfg = composed(tmp_path, *point, "classes=[134]", other)
        run.generate(cfg)
        assert pixels(images_of(cfg))["134_0.png"] != found["134_0.png"], other


def test_what_another_process_claims_is_left_to_it(tmp_path: Path):
    found = image_set.ImageSet(tmp_path, list(wanted_images([3, 4], 1)), {})
    made = []

    def make(one):
        made.append(one.class_index)
        write_whole(found.path(one), b"")

    with found.claimed(found.wanted[0]) as mine:
        assert mine
        assert found.complete(make, found.wanted, wait=False) == 1
        assert made == [4]
    assert found.complete(make, found.wanted) == 1
    assert made == [4, 3]
    found.tidy()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3_0.png", "4_0.png"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["keep_rate=0.7"], r"0_0.png was made with settings.merging.keep_rate=0.6 instead of 0.7"),
        (["sampling.guidance=3"], r"was made with settings.sampling.guidance=7.5 instead of 3"),
        (["seed=1"], r"was made with seed=0 instead of 100000"),
        (
            ["reducer=none"],
            r"was made with settings.reducer._target_=reducers.tome_2d.ToMe2D instead of reducers.none.NoReduction",
        ),
        (["classes=[134]"], r"holds 0_0.png, which this run does not make"),
        (["sampling.precision=bf16"], r"was made with precision=fp32 instead of bf16"),
    ],
)
def test_images_made_otherwise_are_refused(tmp_path: Path, settings: list[str], said: str):
    place = f"images='{tmp_path / 'images'}'"
    first = composed(tmp_path, "reducer=tome_2d", "keep_rate=0.6", place)
    images = generation.image_set(first)
    about = {"device": "cpu", "precision": "fp32", "seconds": 1.0, "tokens": []}
    for one in images.wanted:
        image_set.save(Image.new("RGB", (SIDE, SIDE)), images.path(one), {**images.made_from(one), **about})
    assert run.generate(first).status == "finished"
    before = pixels(tmp_path / "images")
    other = composed(tmp_path, "reducer=tome_2d", "keep_rate=0.6", place, *settings)
    with pytest.raises(ValueError, match=said) as raised:
        run.generate(other)
    assert "\n" not in str(raised.value)
    assert pixels(tmp_path / "images") == before


def test_damaged_and_strange_files_are_refused(tmp_path: Path):
    found = image_set.ImageSet(tmp_path, list(wanted_images([3], 1)), {})
    for content in (b"", b"\x89PNG\r\n", b"text"):
        write_whole(tmp_path / "3_0.png", content)
        with pytest.raises(ValueError, match=r"3_0.png is no image of python -m atc.diffusion.generate: remove it"):
            found.check()
    Image.new("RGB", (8, 8)).save(tmp_path / "3_0.png")
    with pytest.raises(ValueError, match="does not say how it was made"):
        found.check()


def test_images_that_are_not_finite_are_refused():
    made = pipelines.load_pipeline(pipeline(), "fp32", torch.device("cpu"))
    (wanted,) = wanted_images([3], 1)
    with torch.no_grad():
        made.vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"3_0.png: .* not finite in torch.float32: sampling.precision=fp32 or bf16"):
        sampling.sample(made, wanted, sampling.Sampling(1))


def test_what_decides_on_the_identity(tmp_path: Path):
    dense = {identity(composed(tmp_path, "reducer=none", f"keep_rate={rate}", "merging.every=2")) for rate in (0.4, 1)}
    assert len(dense) == 1
    one = identity(composed(tmp_path))
    for same in ("images=elsewhere", "shard=0/2", "device=cpu", "debug=true"):
        assert identity(composed(tmp_path, same)) == one
    for other in ("keep_rate=0.4", "per_class=2", "merging.seed=0", "prompt='A {}'", "sampling.height=32"):
        assert identity(composed(tmp_path, other)) != one
    (tmp_path / "reference").mkdir()
    scored = composed(tmp_path, f"fid.reference='{tmp_path / 'reference'}'")
    assert identity(scored) != one
    assert images_of(scored) == images_of(composed(tmp_path))


def test_the_pipeline_counts_with_its_contents(tmp_path: Path):
    import shutil

    shutil.copytree(pipeline(), tmp_path / "copy")
    one, same = composed(tmp_path), composed(tmp_path, given_pipeline=str(tmp_path / "copy"))
    assert identity(one) == identity(same)
    index = tmp_path / "copy" / "scheduler" / "scheduler_config.json"
    index.write_text(index.read_text().replace("scaled_linear", "linear"))
    assert identity(composed(tmp_path, given_pipeline=str(tmp_path / "copy"))) != identity(one)


def test_a_sheet_has_a_place_for_each_image():
    picture = Image.new("RGB", (64, 32), "red")
    sheet = sheets.contact_sheet([(f"class {n}", picture) for n in range(12)], side=20, columns=5)
    assert sheet.size == (5 * 26 + 6, 3 * 44 + 6)
    assert sheet.getpixel((16, 16)) == (255, 0, 0)


PAGE = (Path(__file__).parents[2] / "docs" / "stable_diffusion.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in PAGE.splitlines() if line.startswith("    python -m atc.diffusion.generate ")]


@pytest.mark.parametrize("line", [line for line in COMMANDS if "-cn" not in line])
def test_commands_of_the_page_compose(tmp_path: Path, line: str):
    given = [f"fid.reference='{tmp_path}'" if "DIRECTORY" in one else one for one in shlex.split(line)[3:]]
    cfg = composed(tmp_path, *(one for one in given if not one.startswith("pipeline=tiny")))
    assert len(generation.image_set(cfg).wanted) in (2, 2000)


def test_the_page_has_commands():
    assert len(COMMANDS) >= 5

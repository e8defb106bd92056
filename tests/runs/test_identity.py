"""Two runs are one if and only if nothing that determines the result differs."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from atc import cli
from atc.config import build
from atc.runs import identity, store
from atc.runs.record import Record
from tests.harness.commands import TINY, composed


def of(tmp_path: Path, *overrides: str, name: str = "train", folder: str = "run") -> str:
    return identity.identity(composed(name, tmp_path / folder, *overrides))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return of(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize(
    "override",
    [
        "paths.runs=elsewhere",
        "logger=none",
        "datamodule.num_workers=3",
        "benchmark.seconds=9",
        "t=3",
        "baselines=false",
        "reducer.distance=cosine",  # as before it was a setting
    ],
)
def test_the_same_run(tmp_path: Path, plain: str, override: str) -> None:
    assert of(tmp_path, override, folder="other") == plain


@pytest.mark.parametrize(
    "override",
    [
        *("seed=1", "keep_rate=0.6", "reducer=tome", "schedule=constant", "trainer.max_epochs=3", "optimizer.lr=1e-4"),
        *("reducer.distance=euclidean", "reducer.size_bias=0.5"),
    ],
)
def test_another_run(tmp_path: Path, plain: str, override: str) -> None:
    assert of(tmp_path, override) != plain


def test_resuming_is_the_same_training(tmp_path: Path, plain: str) -> None:
    assert of(tmp_path, "resume=runs/train/somewhere") == plain


def test_resume_auto_names_the_directory(tmp_path: Path) -> None:
    """Alone or as one of a multirun; whatever decides nothing leaves it as it is."""
    expected = of(tmp_path, "reducer=tome", "seed=3")
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        said = [*TINY, "reducer=tome", "seed=3", "logger=none", "datamodule.num_workers=1", "resume=auto"]
        root = compose("train", said, return_hydra_config=True)
    assert cli._run_dir("now", "train", "runs/train", "auto", _root_=root) == f"runs/train/{expected}"
    assert cli._sweep_dir("now", "runs", "train", "auto") == "runs/train"
    assert cli._sweep_subdir("train", 7, "auto", _root_=root) == expected
    assert cli._run_dir("now", "train", "runs/train", None, _root_=root) == "runs/train/now"
    assert (cli._sweep_dir("now", "runs", "train", None), cli._sweep_subdir("train", 7, None, _root_=root)) == (
        "runs/train_sweep/now",
        "7",
    )


def test_weights_count_by_what_is_in_them(tmp_path: Path) -> None:
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    detection = ["datamodule=shapes_detection"]
    for key, command, more in (
        ("backbone.checkpoint", "train", []),
        ("task.checkpoint", "train", detection),
        ("checkpoint", "evaluate", []),
    ):
        a, b, c = (of(tmp_path, *more, f"{key}='{tmp_path}/{name}.safetensors'", name=command) for name in "abc")
        assert a == b != c


def test_a_data_set_counts_by_its_name(tmp_path: Path) -> None:
    a, b, c = (of(tmp_path, "datamodule=imagenet", f"datamodule.root={root}") for root in ("/x/in", "/y/in", "/x/part"))
    assert a == b != c


def test_pictures_of_ones_own_count_by_their_files(tmp_path: Path) -> None:
    """Another folder of the same name is another data set; the same one elsewhere is not."""
    for place, size in (("x/pets", 3), ("y/pets", 4), ("z/animals", 3)):
        for part in ("train/cat", "test/cat"):
            (tmp_path / place / part).mkdir(parents=True)
            (tmp_path / place / part / "1.png").write_bytes(b"." * size)
    places = ("x/pets", "y/pets", "z/animals", "nowhere/pets")
    x, y, z, missing = (of(tmp_path, "datamodule=folder", f"datamodule.root='{tmp_path / one}'") for one in places)
    assert x == z
    assert len({x, y, missing}) == 3
    (tmp_path / "x/pets/2.png").write_bytes(b"")
    assert of(tmp_path, "datamodule=folder", f"datamodule.root='{tmp_path / 'x/pets'}'") != x


def test_which_data_sets_are_the_same_everywhere(tmp_path: Path) -> None:
    """Released ones, for which another file beside the images makes no other run; no folder of one's own."""
    places = [tmp_path / place / "same" for place in ("a", "b")]
    for number, place in enumerate(places):
        place.mkdir(parents=True)
        (place / "README.txt").write_text("x" * number)
    found = set()
    for name in build.names("datamodule"):
        if "root" in composed("train", tmp_path, f"datamodule={name}").datamodule:
            one, other = (of(tmp_path, f"datamodule={name}", f"datamodule.root='{place}'") for place in places)
            found |= {name} if one == other else set()
    assert found >= {
        *(
            "ade20k",
            "cifar100",
            "coco",
            "coco_detection",
            "flowers102",
            "imagenet",
            "imagenette",
            "nabirds",
            "nus_wide",
        ),
        *("voc_multilabel", "voc_segmentation"),
    }
    assert "folder" not in found


def test_where_a_sweep_finds_its_weights_counts_not(tmp_path: Path) -> None:
    """Only what is in them does."""
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "w.safetensors").write_bytes(b"one")
    said = "backbone.checkpoint=${weights}/w.safetensors"
    a, b = (of(tmp_path, f"+weights='{tmp_path / place}'", said, name="evaluate") for place in "ab")
    assert a == b


def test_what_the_store_holds(tmp_path: Path, plain: str) -> None:
    cfg = composed("train", tmp_path / "secret_place", "datamodule.num_workers=0")
    times = {"started": "2026-01-31T12:00:00+00:00", "finished": "2026-01-31T12:01:30+00:00"}
    local = Record.read({"status": "finished", "seed": 0, "reducer": "atc_average", **times})
    found = store.with_settings(local, cfg).as_dict()
    assert found["identity"] == identity.of_settings(found["config"]) == plain
    assert (found["reducer"], found["keep_rate"], found["schedule"]) == ("atc_average", 0.5, "stages")
    assert "t" not in found
    assert found["wall_time_s"] == 90
    assert "secret_place" not in str(found)

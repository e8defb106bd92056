"""Evaluations: off the shelf, without reduction, of finished runs."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from atc import run
from atc.config.taken_over import with_saved
from atc.runs import directories
from atc.vit.backbones import SHIPPED_DIGITS
from tests.harness.commands import composed


def test_off_the_shelf(tmp_path: Path) -> None:
    found = run.evaluate(composed("evaluate", tmp_path, "reducer=tome", "keep_rate=0.5"))
    assert found.tokens_per_block == [49] * 4 + [25] * 3 + [13] * 3 + [7] * 2
    assert len(found.notices) == 3
    assert set(found.results) >= {"off_the_shelf", "gflops", "images_per_second"}
    assert "dense" not in found.results
    assert found.precision == "32-true"
    assert found.tf32 == {"matrix_products": False, "convolutions": False}  # on a CPU


def test_dense_is_better_than_next_to_nothing(tmp_path: Path) -> None:
    all_images = ["trainer.limit_test_batches=1.0", "datamodule.eval_batch_size=450"]
    little = ["keep_rate=0.1", "blocks=[1,2]"]
    dense = run.evaluate(composed("evaluate", tmp_path / "a", "reducer=none", *all_images))
    random = run.evaluate(composed("evaluate", tmp_path / "b", "reducer=random", *little, *all_images))
    assert dense.results["dense"]["accuracy"] > 0.95
    assert random.results["off_the_shelf"]["accuracy"] < 0.8


def test_baselines_add_the_dense_accuracy(tmp_path: Path) -> None:
    assert {"dense", "off_the_shelf"} <= set(run.evaluate(composed("evaluate", tmp_path, "baselines=true")).results)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trained DPC-KNN, which has parameters of its own, at an unusual keep rate."""
    folder = tmp_path_factory.mktemp("finished")
    run.train(composed("train", folder, "reducer=dpc_knn", "keep_rate=0.6", "baselines=false"))
    return folder


def evaluated(folder: Path, *overrides: str) -> dict[str, object]:
    """What evaluate.py does with these overrides."""
    cfg = composed("evaluate", folder, *overrides)
    directory = directories.run_directory(cfg.checkpoint)
    assert directory is not None
    return run.evaluate(with_saved(cfg, directory, list(overrides), directories.OF_THE_EVALUATION))


def test_a_run_brings_its_settings(tmp_path: Path, finished: Path) -> None:
    found = evaluated(tmp_path, f"checkpoint={finished}")
    assert found.reducer == "dpc_knn"
    assert found.tokens_per_block == [49, 49, 49, 29, 29, 29, 17, 17, 17, 10, 10, 10]
    assert set(found.results) >= {"checkpoint"}


def test_the_same_accuracy_as_when_it_was_trained(tmp_path: Path, finished: Path) -> None:
    full = ["trainer.limit_test_batches=1", "datamodule.eval_batch_size=16"]
    trained = OmegaConf.load(finished / "results.json").results.fine_tuned
    assert evaluated(tmp_path, f"checkpoint={finished}", *full).results["checkpoint"] == trained


def test_the_command_line_overrides_the_run(tmp_path: Path, finished: Path) -> None:
    found = evaluated(tmp_path / "a", f"checkpoint={finished / 'last.ckpt'}", "keep_rate=0.5")
    assert found.tokens_per_block[-1] == 6
    found = evaluated(tmp_path / "b", f"checkpoint={finished / 'weights.safetensors'}", "reducer=none")
    assert found.reducer == "none"


def test_saved_settings_under_the_command_line(tmp_path: Path, finished: Path) -> None:
    overrides = [f"checkpoint={finished}", "reducer=tome", "datamodule.size=28", "+trainer.profiler=simple"]
    cfg = composed("evaluate", tmp_path, *overrides)
    merged = with_saved(cfg, finished, overrides, directories.OF_THE_EVALUATION)
    assert (merged.keep_rate, merged.schedule.keep_rate) == (0.6, 0.6)
    assert merged.choices.reducer == "tome"
    assert merged.reducer._target_ == "reducers.tome.ToMe"
    assert merged.datamodule.size == 28
    assert merged.trainer.profiler == "simple"
    assert "best" not in merged.callbacks  # an evaluation has its own


def test_a_resumed_training_stays_in_its_sweep(tmp_path: Path) -> None:
    """An evaluation of its checkpoint is something else."""
    saved = composed("train", tmp_path, "+sweep=digits_all", "keep_rate=0.6")
    directories.save_config(saved, tmp_path)
    for said, sweep in (([], "digits_all"), (["+sweep=other"], "other")):
        overrides = [f"resume={tmp_path}", *said]
        merged = with_saved(composed("train", tmp_path, *overrides), tmp_path, overrides, set())
        assert (merged.sweep, merged.keep_rate) == (sweep, 0.6)
    overrides = [f"checkpoint={tmp_path}"]
    cfg = composed("evaluate", tmp_path, *overrides)
    assert "sweep" not in with_saved(cfg, tmp_path, overrides, directories.OF_THE_EVALUATION)


def test_shipped_weights_are_a_checkpoint_too(tmp_path: Path) -> None:
    found = run.evaluate(composed("evaluate", tmp_path, "reducer=atc_single", f"checkpoint={SHIPPED_DIGITS}"))
    assert found.results["checkpoint"]["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["checkpoint=nowhere"], "checkpoint=nowhere: no such file or run directory"),
        (["checkpoint=."], "holds neither best.ckpt nor last.ckpt"),
        ([f"checkpoint={SHIPPED_DIGITS}", "reducer=none", "backbone=deit_tiny"], "does not fit the model"),
    ],
)
def test_wrong_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run.evaluate(composed("evaluate", tmp_path, *overrides))

"""What the best epoch is chosen on, and resuming a run that has a moving average."""

import logging
import signal
from pathlib import Path

import pytest
import torch
from lightning import Trainer

from atc import run
from atc.runs import directories
from atc.tasks.interrupt import Interrupted, StopSafely
from tests.datamodules.on_disk import write_nabirds
from tests.harness.commands import command, composed
from tests.harness.test_train import SignalAfter

RECIPE = ["experiment=deit_finetune", "backbone=digits", "trainer.precision=32-true", "optimizer.warmup_epochs=1"]


def test_on_the_test_part_as_released(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of all epochs and both sets of weights the best on the test part; said in the log and in the record."""
    write_nabirds(tmp_path / "data", train=30, test=20)
    data = [f"datamodule.root={tmp_path / 'data'}", "datamodule=nabirds", "datamodule.num_workers=0"]
    full = ["trainer.limit_val_batches=1.0", "trainer.limit_test_batches=1.0", "trainer.accumulate_grad_batches=1"]
    settings = [*RECIPE, *data, *full, "baselines=false", "reducer=topk", "selection=test_as_released"]
    with caplog.at_level(logging.WARNING):
        found = run.train(composed("train", tmp_path / "run", *settings))
    assert "NABirds: selecting on the test part, as released" in caplog.text
    assert found.selection == "test_as_released"
    assert found.results["validation"]["accuracy"] == pytest.approx(found.results["fine_tuned"]["accuracy"])


def test_a_data_set_without_the_choice(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="unexpected keyword argument 'selection'"):
        run.train(composed("train", tmp_path, "selection=test_as_released"))


def test_an_evaluation_selects_nothing(tmp_path: Path) -> None:
    assert run.evaluate(composed("evaluate", tmp_path, "reducer=none")).selection is None


@pytest.mark.slow
def test_resumed_with_an_average_equals_unbroken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [*RECIPE, "datamodule=digits", "baselines=false", "reducer=random", "trainer.max_epochs=3"]
    settings += ["trainer.accumulate_grad_batches=1", "callbacks.ema.decay=0.5"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = run.train(composed("train", whole, *settings))
    original = StopSafely.on_train_start

    def start(self: StopSafely, trainer: Trainer, module: object) -> None:
        original(self, trainer, module)  # type: ignore[arg-type]
        trainer.callbacks.append(SignalAfter(5, signal.SIGTERM))  # type: ignore[attr-defined]

    with monkeypatch.context() as patch:
        patch.setattr(StopSafely, "on_train_start", start)
        with pytest.raises(Interrupted):
            run.train(composed("train", cut, *settings))
    resumed = run.train(composed("train", cut, *settings, f"resume={cut}"))
    assert resumed.results["fine_tuned"] == expected.results["fine_tuned"]
    a, b = (torch.load(folder / directories.LAST, weights_only=True) for folder in (whole, cut))
    for part in ("state_dict", "current_model_state"):
        assert all(torch.equal(a[part][key], b[part][key]) for key in a[part])


@pytest.mark.slow
def test_resumed_with_loader_workers_equals_unbroken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops, flips, jitter and erasing are drawn in other processes, and are those of the batch all the same."""
    write_nabirds(tmp_path / "data", train=40, test=20)
    settings = ["datamodule=nabirds", f"datamodule.root={tmp_path / 'data'}", "datamodule.num_workers=2"]
    settings += ["baselines=false", "reducer=topk", "backbone.drop_path_rate=0.2", "task.mixup=0.5"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run.train(composed("train", whole, *settings))
    original = StopSafely.on_train_start

    def start(self: StopSafely, trainer: Trainer, module: object) -> None:
        original(self, trainer, module)  # type: ignore[arg-type]
        trainer.callbacks.append(SignalAfter(5, signal.SIGTERM))  # type: ignore[attr-defined]

    with monkeypatch.context() as patch:
        patch.setattr(StopSafely, "on_train_start", start)
        with pytest.raises(Interrupted):
            run.train(composed("train", cut, *settings))
    settings[2] = "datamodule.num_workers=1"
    run.train(composed("train", cut, *settings, f"resume={cut}"))
    a, b = (torch.load(folder / directories.LAST, weights_only=True) for folder in (whole, cut))
    assert all(torch.equal(value, b["state_dict"][key]) for key, value in a["state_dict"].items())


@pytest.mark.parametrize("recipe", ["deit_finetune", "mae_finetune"])
def test_a_recipe_is_for_training(tmp_path: Path, recipe: str) -> None:
    done = command("evaluate.py", f"experiment={recipe}", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"error: experiment/{recipe} is not for 'evaluate', which has no 'optimizer' to set\n"

"""Whole runs whose numbers are not finite, and how many images are behind the numbers of others."""

import json
import logging
import math
import re
from pathlib import Path

import pytest
import torch
from lightning import Callback, Trainer
from safetensors.torch import load_file, save_file

from atc import run
from atc.tasks.finite import NotFinite
from atc.vit.backbones import SHIPPED_DIGITS
from tests.harness.commands import command, composed

PLAIN = ["reducer=topk", "baselines=false"]
MODULE = "tests.harness.test_finite"


class Poison(Callback):
    """Makes the weights NaN before an update."""

    def __init__(self, at: int):
        self.at = at

    def on_train_batch_start(self, trainer: Trainer, pl_module: torch.nn.Module, *_: object) -> None:
        if trainer.global_step == self.at:
            with torch.no_grad():
                next(pl_module.parameters()).fill_(math.nan)


def strict(file: Path) -> dict:
    """JSON without NaN and Infinity."""
    return json.loads(file.read_text(), parse_constant=lambda text: pytest.fail(f"{file} holds {text}"))


def test_a_training_that_diverges_fails_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = run.train(composed("train", tmp_path / "whole", *PLAIN)).results
    here = tmp_path / "run"
    poison = f"+callbacks.poison={{_target_:{MODULE}.Poison,at:4}}"
    with pytest.raises(NotFinite, match=r"the loss is not finite at step 4; the last finite loss was \d"):
        run.train(composed("train", here, *PLAIN, poison))
    record = strict(here / "results.json")
    (stored,) = (strict(file) for file in (here / "store").glob("*.json"))
    for found in (record, stored):
        assert found["status"] == "failed"
        assert "not finite at step 4" in found["error"]
        assert "fine_tuned" not in found["results"]
    for name in ("last.ckpt", "best.ckpt"):
        kept = torch.load(here / name, weights_only=True)
        assert kept["global_step"] == 3
        assert all(value.isfinite().all() for value in kept["state_dict"].values())

    with caplog.at_level(logging.INFO):
        again = run.train(composed("train", here, *PLAIN, "resume=auto"))
    assert "this run failed before: the loss is not finite at step 4" in caplog.text
    assert (again.status, again.error) == ("finished", None)
    assert again.results["fine_tuned"] == expected["fine_tuned"]
    assert again.results["validation"] == expected["validation"]


def test_an_evaluation_that_is_not_finite_fails(tmp_path: Path) -> None:
    weights = load_file(SHIPPED_DIGITS)
    weights["head.bias"][3] = math.nan
    save_file(weights, tmp_path / "nan.safetensors")
    with pytest.raises(NotFinite, match="checkpoint: the logits of 16 of 16 images are not finite"):
        run.evaluate(composed("evaluate", tmp_path / "run", *PLAIN[:1], f"checkpoint={tmp_path / 'nan.safetensors'}"))
    record = strict(tmp_path / "run" / "results.json")
    assert record["status"] == "failed"
    assert not record["results"]


def test_the_number_of_images_behind_a_score(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        found = run.train(composed("train", tmp_path, *PLAIN))
    of = found.results["fine_tuned"]["images_of"]
    assert found.results["fine_tuned"]["images"] == 16 < of
    assert found.results["validation"]["images"] == 16 < found.results["validation"]["images_of"]
    assert re.search(rf"test images +│ +│ +16 of {of}", caplog.text)
    assert re.search(r"validation images +16 of \d+", caplog.text)
    assert "trainer.limit_train_batches=3: not all training images are used" in found.notices
    assert found.reader is None, "the digits are no files of pictures"

    caplog.clear()
    whole = ["trainer.limit_test_batches=1.0", "reducer=none"]
    with caplog.at_level(logging.INFO):
        found = run.evaluate(composed("evaluate", tmp_path / "all", *whole, "trainer.limit_train_batches=1.0"))
    assert found.results["dense"]["images"] == found.results["dense"]["images_of"] == of
    assert re.search(rf"test images +│ +{of}\n", caplog.text)
    assert not found.notices


def test_what_else_the_epoch_is_chosen_by_is_not_called_the_score(tmp_path: Path) -> None:
    settings = ["callbacks.best.monitor=val/loss", "callbacks.best.mode=min"]
    found = run.train(composed("train", tmp_path, *PLAIN, *settings)).results["validation"]
    assert set(found) == {"loss", "images", "images_of"}


@pytest.mark.slow
def test_two_processes_stop_together(tmp_path: Path) -> None:
    """One of them has the loss that is not finite."""
    two = ["trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu", "~callbacks.progress"]
    short = ["trainer.max_epochs=2", "trainer.limit_train_batches=4", "optimizer.warmup_epochs=0", *PLAIN]
    poison = f"+callbacks.poison={{_target_:{MODULE}.PoisonSecond,at:5}}"
    bar = "+trainer.enable_progress_bar=false"
    done = command("train.py", *two, *short, bar, poison, "trainer.log_every_n_steps=2", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: the loss is not finite at step 5") == 1
    (directory,) = tmp_path.glob("runs/train/*")
    assert strict(directory / "results.json")["status"] == "failed"
    assert torch.load(directory / "last.ckpt", weights_only=True)["global_step"] == 4


class PoisonSecond(Callback):
    """Makes the loss of the second process NaN at an update."""

    def __init__(self, at: int):
        self.at = at

    def on_train_batch_start(self, trainer: Trainer, pl_module: torch.nn.Module, batch: list, *_: object) -> None:
        if trainer.global_step == self.at and trainer.global_rank == 1:
            batch[0].fill_(math.nan)

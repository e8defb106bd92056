"""A whole training on digits, interrupted and resumed."""

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import timm
import torch
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from safetensors.torch import load_file

from atc import run
from atc.tasks.interrupt import Interrupted, StopSafely
from atc.vit.backbones import digits
from tests.harness.commands import composed


def test_main_job(tmp_path: Path) -> None:
    found = run.train(composed("train", tmp_path, "reducer=atc_average", "keep_rate=0.25"))

    assert found.as_dict() == json.loads((tmp_path / "results.json").read_text())
    assert found.status == "finished"
    assert found.tokens_per_block == [49] * 4 + [12] * 3 + [3] * 3 + [1] * 2
    results = found.results
    for name in ("dense", "off_the_shelf", "fine_tuned"):
        assert 0.5 < results[name]["accuracy"] <= 1
    assert results["gflops"]["reduced"] < 0.5 * results["gflops"]["dense"]
    assert min(results["images_per_second"].values()) > 0
    assert found.seed == 0
    assert found.reducer == "atc_average"
    assert found.versions["timm"] == timm.__version__
    files = {path.name for path in tmp_path.iterdir()}
    assert {"config.yaml", "composed.yaml", "best.ckpt", "last.ckpt", "weights.safetensors", "logs"} <= files
    assert "${" not in (tmp_path / "config.yaml").read_text()
    # Key names are timm's: anybody can load the weights.
    digits(pretrained=False).load_state_dict(load_file(tmp_path / "weights.safetensors"))


def test_same_seed_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    settings = ["reducer=topk", "baselines=false", "trainer.max_epochs=1", "optimizer.warmup_epochs=0"]
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run.train(composed("train", tmp_path / name, *settings, f"seed={seed}"))
    a, b, c = (load_file(tmp_path / name / "weights.safetensors")["head.weight"] for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


class SignalAfter(Callback):
    """Sends this process a real signal after some number of updates."""

    def __init__(self, steps: int, number: int):
        self.steps, self.number = steps, number

    def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.steps - 1:
            os.kill(os.getpid(), self.number)


# Everything that draws random numbers is on: pruning, mixup, stochastic depth, augmentation.
RANDOM = ["reducer=random", "task.mixup=0.5", "backbone.drop_path_rate=0.2", "trainer.max_epochs=3"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupts."""
    directory = tmp_path_factory.mktemp("unbroken")
    run.train(composed("train", directory, *RANDOM))
    return directory


@pytest.mark.xdist_group("interrupted")  # one process makes what all of them read
@pytest.mark.parametrize(("steps", "number"), [(2, signal.SIGTERM), (3, signal.SIGINT), (4, signal.SIGTERM)], ids=str)
def test_interrupted_and_resumed_equals_unbroken(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, number: int
) -> None:
    cut = tmp_path / "cut"
    expected = json.loads((unbroken / "results.json").read_text())["results"]
    original = StopSafely.on_train_start

    def start(self: StopSafely, trainer: Trainer, module: object) -> None:
        original(self, trainer, module)  # type: ignore[arg-type]
        trainer.callbacks.append(SignalAfter(steps, number))  # type: ignore[attr-defined]

    with monkeypatch.context() as patch:
        patch.setattr(StopSafely, "on_train_start", start)
        with pytest.raises(Interrupted) as stop:
            run.train(composed("train", cut, *RANDOM))
    assert stop.value.number == number
    record = json.loads((cut / "results.json").read_text())
    assert record["status"] == "interrupted"
    assert {"dense", "off_the_shelf"} <= set(record["results"])
    assert "fine_tuned" not in record["results"]
    assert torch.load(cut / "last.ckpt", weights_only=True)["global_step"] == steps

    resumed = run.train(composed("train", cut, *RANDOM, f"resume={cut}"))
    for key in ("dense", "off_the_shelf", "fine_tuned", "validation"):
        assert resumed.results[key] == expected[key]
    for name in ("best.ckpt", "last.ckpt"):
        a, b = (torch.load(folder / name, weights_only=True) for folder in (unbroken, cut))
        assert a["global_step"] == b["global_step"]
        assert all(torch.equal(a["state_dict"][key], b["state_dict"][key]) for key in a["state_dict"])


class SignalInBatch(Callback):
    """Sends this process a real signal in the batch of this number."""

    def __init__(self, number: int):
        self.number = number

    def on_train_batch_start(self, trainer: Trainer, module: object, batch: object, batch_idx: int) -> None:
        if batch_idx == self.number:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_interrupted_while_gradients_accumulate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal falls on the first of three batches of the second update."""
    settings = ["baselines=false", "reducer=topk", "trainer.max_epochs=1", "optimizer.warmup_epochs=0"]
    settings += ["trainer.limit_train_batches=9", "trainer.accumulate_grad_batches=3"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run.train(composed("train", whole, *settings))
    original = StopSafely.on_train_start

    def start(self: StopSafely, trainer: Trainer, module: object) -> None:
        original(self, trainer, module)  # type: ignore[arg-type]
        trainer.callbacks.append(SignalInBatch(3))  # type: ignore[attr-defined]

    with monkeypatch.context() as patch:
        patch.setattr(StopSafely, "on_train_start", start)
        with pytest.raises(Interrupted):
            run.train(composed("train", cut, *settings))
    assert torch.load(cut / "last.ckpt", weights_only=True)["global_step"] == 2
    run.train(composed("train", cut, *settings, f"resume={cut}"))
    a, b = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (whole, cut))
    assert a["global_step"] == b["global_step"] == 3
    assert all(torch.equal(a["state_dict"][key], b["state_dict"][key]) for key in a["state_dict"])


class Ran(NamedTuple):
    """A finished training, and who had its signals before and after it."""

    directory: Path
    before: list[Any]
    after: list[Any]


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A training without reduction."""
    directory = tmp_path_factory.mktemp("dense")
    before = [signal.getsignal(number) for number in StopSafely.signals]
    run.train(composed("train", directory, "reducer=none"))
    return Ran(directory, before, [signal.getsignal(number) for number in StopSafely.signals])


@pytest.mark.xdist_group("dense")
def test_signals_are_handed_back(dense: Ran) -> None:
    assert dense.after == dense.before


@pytest.mark.xdist_group("dense")
def test_without_reduction_one_column_is_enough(dense: Ran) -> None:
    results = json.loads((dense.directory / "results.json").read_text())["results"]
    assert "off_the_shelf" not in results
    assert list(results["gflops"]) == ["dense"]


@pytest.mark.slow
def test_a_finished_run_stays_so_where_a_resume_fails(tmp_path: Path) -> None:
    settings = ["reducer=none", "baselines=false", "optimizer.warmup_epochs=0"]
    run.train(composed("train", tmp_path, *settings, "trainer.max_epochs=3"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    entries = list((tmp_path / "store").iterdir())
    with pytest.raises(MisconfigurationException, match=r"current_epoch=\d, but you have set Trainer\(max_epochs=1\)"):
        run.train(composed("train", tmp_path, *settings, "trainer.max_epochs=1", "seed=3", f"resume={tmp_path}"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert list((tmp_path / "store").iterdir()) == entries
    further = composed("train", tmp_path, *settings, "trainer.max_epochs=4", f"resume={tmp_path}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "result_of", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run.train(further)
    assert json.loads((tmp_path / "results.json").read_text())["status"] == "failed"


@pytest.mark.xdist_group("dense")
def test_weights_are_no_training_state(dense: Ran, tmp_path: Path) -> None:
    weights = dense.directory / "weights.safetensors"
    with pytest.raises(ValueError, match=r"backbone\.checkpoint="):
        run.train(composed("train", tmp_path / "next", f"resume={weights}"))


@pytest.mark.slow
def test_ema_accumulation_and_clipping(tmp_path: Path) -> None:
    overrides = ["callbacks=ema", "trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1.0"]
    found = run.train(composed("train", tmp_path, "baselines=false", *overrides))
    averaged, raw = (
        torch.load(tmp_path / "best.ckpt", weights_only=True)[key]["model.head.weight"]
        for key in ("state_dict", "current_model_state")
    )
    assert not torch.equal(averaged, raw)
    assert torch.equal(averaged, load_file(tmp_path / "weights.safetensors")["head.weight"])
    assert found.status == "finished"


@pytest.mark.slow
def test_resumed_with_other_rates_and_a_longer_training(tmp_path: Path) -> None:
    """Rates follow the settings of the command that resumes, as if all of the training had been under them."""
    settings = ["baselines=false", "reducer=topk", "logger=csv", "trainer.log_every_n_steps=1"]
    run.train(composed("train", tmp_path / "cut", *settings))
    longer = [*settings, "trainer.max_epochs=4", "optimizer.lr=3e-3"]
    run.train(composed("train", tmp_path / "cut", *longer, f"resume={tmp_path / 'cut'}"))
    run.train(composed("train", tmp_path / "whole", *longer))
    expected, found = (rates(tmp_path / name) for name in ("whole", "cut"))
    assert expected[6] > 1e-3
    assert {step: found[step] for step in range(6, 12)} == {step: expected[step] for step in range(6, 12)}


def rates(folder: Path) -> dict[int, float]:
    """The learning rate of every update, by its number; of the last run logged in `folder`."""
    rows = [row for path in sorted(folder.rglob("metrics.csv")) for row in csv.DictReader(path.open())]
    return {int(row["step"]): float(row["train/lr"]) for row in rows if row.get("train/lr")}


@pytest.mark.slow
@pytest.mark.parametrize("callbacks", ["ema", "raw_or_ema"])
def test_an_average_is_tested_where_nothing_is_left_to_train(tmp_path: Path, callbacks: str) -> None:
    """Without validation no epoch is the best one, and the average is in no model but that of the callback."""
    settings = [f"callbacks={callbacks}", "callbacks.ema.decay=0.9", "trainer.limit_val_batches=0", "optimizer.lr=5e-3"]
    settings += ["reducer=topk", "baselines=false", "optimizer.warmup_epochs=0", "resume=auto"]
    expected = run.train(composed("train", tmp_path, *settings)).results["fine_tuned"]
    weights = load_file(tmp_path / "weights.safetensors")
    file = tmp_path / "results.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"status": "running"}))
    assert run.train(composed("train", tmp_path, *settings)).results["fine_tuned"] == expected
    assert all(torch.equal(value, weights[key]) for key, value in load_file(tmp_path / "weights.safetensors").items())


def test_without_validation_what_is_tested_is_the_end_of_the_training(tmp_path: Path) -> None:
    """Also where last.ckpt is only what StopSafely has left within an epoch."""
    settings = ["~callbacks.last", "callbacks.stop_safely.minutes=0", "trainer.limit_val_batches=0"]
    run.train(composed("train", tmp_path, "reducer=topk", "baselines=false", *settings))
    older = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert older["global_step"] < 6
    weights = load_file(tmp_path / "weights.safetensors")["head.weight"]
    assert not torch.equal(weights, older["state_dict"]["model.head.weight"])

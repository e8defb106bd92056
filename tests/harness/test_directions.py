"""Trainings scored by a metric that falls, and with a keep rate for each stage."""

import json
from pathlib import Path

import torch

from atc import run
from tests.harness.commands import composed


def test_the_epoch_with_the_least_loss_is_selected(tmp_path: Path) -> None:
    record = run.train(composed("train", tmp_path, "score=loss", "baselines=false", "keep_rate=[0.9,0.7,0.5]"))
    assert record.as_dict()["metric"] == {"name": "loss", "unit": "", "scale": 1.0, "higher_is_better": False}
    state = torch.load(tmp_path / "best.ckpt", weights_only=False)["callbacks"]
    (best,) = (value for key, value in state.items() if key.startswith("ModelCheckpoint") and "val/loss" in key)
    assert "'mode': 'min'" in next(key for key in state if "val/loss" in key)
    assert record.results["validation"]["loss"] == float(best["best_model_score"])
    # 49 patches: int(49 * .9), int(49 * .9 * .7), int(49 * .9 * .7 * .5)
    assert record.tokens_per_block == [49] * 4 + [44] * 3 + [30] * 3 + [15] * 2
    (stored,) = (tmp_path / "store").glob("*.json")
    assert json.loads(stored.read_text())["keep_rate"] == [0.9, 0.7, 0.5]


def test_metrics_that_rise_are_recorded_as_before(trained: Path) -> None:
    record = json.loads((trained / "results.json").read_text())
    assert record["metric"] == {"name": "accuracy", "unit": "%", "scale": 100.0, "higher_is_better": True}
    state = torch.load(trained / "best.ckpt", weights_only=False)["callbacks"]
    assert "'mode': 'max'" in next(key for key in state if "val/accuracy" in key)

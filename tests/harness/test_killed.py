"""SIGKILL at a random moment, and the same command again."""

import json
import os
import random
import time
from pathlib import Path

import pytest
import torch

from atc import run
from tests.harness import forked
from tests.harness.commands import ROOT, TINY, composed, environment

# Everything that draws random numbers is on. A checkpoint after every batch: the kill falls into the middle of epochs.
SETTINGS = [
    *("reducer=random", "task.mixup=0.5", "backbone.drop_path_rate=0.2", "baselines=false"),
    *("trainer.max_epochs=10", "trainer.limit_test_batches=4", "callbacks.stop_safely.minutes=0"),
]


@pytest.mark.slow
def test_killed_ends_as_unbroken(tmp_path: Path) -> None:
    expected = run.train(composed("train", tmp_path / "whole", *SETTINGS))
    seed = int(os.environ.get("ATC_KILL_SEED", time.time_ns() % 1_000_000))
    print(f"ATC_KILL_SEED={seed}")
    command = [str(ROOT / "train.py"), *TINY, *SETTINGS, "resume=auto"]
    process = forked.start(command, tmp_path, environment())
    while not steps(tmp_path):
        assert process.poll() is None, process.said()
        time.sleep(0.01)
    time.sleep(random.Random(seed).uniform(0, 0.4))
    process.kill()
    assert process.returncode == -9
    reached = steps(tmp_path)
    (directory,) = tmp_path.glob("runs/train/*")
    record = json.loads((directory / "results.json").read_text())
    assert record["status"] == "running"
    assert "fine_tuned" not in record["results"]
    done = forked.run(command, tmp_path, environment(), timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"going on from {directory / 'last.ckpt'}" in done.stdout
    assert list(tmp_path.glob("runs/train/*")) == [directory]
    found = json.loads((directory / "results.json").read_text())
    for part in ("fine_tuned", "validation"):
        assert found["results"][part] == expected.results[part], reached
    whole, cut = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (tmp_path / "whole", directory))
    assert whole["global_step"] == cut["global_step"] == 30
    assert all(torch.equal(value, cut["state_dict"][key]) for key, value in whole["state_dict"].items())
    (entry,) = (tmp_path / "runs" / "store").glob("*.json")  # the identity that names the directory is the store's
    assert entry.name.startswith(directory.name)

    # A run that is finished stays as it is.
    again = run.train(composed("train", directory, *SETTINGS, "resume=auto"))
    assert again.as_dict() == found == json.loads((directory / "results.json").read_text())


def steps(folder: Path) -> int:
    """How many updates the newest checkpoint below `folder` holds; it can be read whenever it is there."""
    found = list(folder.glob("runs/train/*/last.ckpt"))
    return torch.load(found[0], weights_only=True)["global_step"] if found else 0

"""Two processes of half the batch each train as one process does."""

import json
from pathlib import Path

import pytest
import torch

from atc import run
from datamodules.loaders import EpochSampler
from tests.harness.commands import TINY, command, composed

SETTINGS = [
    *("datamodule=shapes", "datamodule.target=class", "task=classification", "datamodule.num_workers=0"),
    *("datamodule.val=32", "datamodule.test=63", "trainer.limit_val_batches=1.0", "trainer.limit_test_batches=1.0"),
    *("reducer=topk", "baselines=false", "trainer.max_epochs=1", "optimizer.warmup_epochs=0", "benchmark.seconds=0.01"),
    *("optimizer.opt=sgd", "optimizer.lr=0.05"),  # Adam makes a whole step of a gradient that is 0 but for rounding
]


def test_the_same_weights_and_metrics(tmp_path: Path) -> None:
    """Over gloo, started as a user does; the drawn scenes are the same in every process."""
    expected = run.train(composed("train", tmp_path / "one", *SETTINGS, "datamodule.batch_size=16"))
    two = ["datamodule.batch_size=8", "trainer.devices=2", "trainer.strategy=ddp"]
    done = command("train.py", *TINY, *SETTINGS, *two, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (directory,) = tmp_path.glob("runs/train/*")
    found = json.loads((directory / "results.json").read_text())
    for part in ("fine_tuned", "validation"):
        assert found["results"][part] == pytest.approx(expected["results"][part], rel=1e-4)
    a, b = (torch.load(d / "last.ckpt", weights_only=True) for d in (tmp_path / "one", directory))
    assert a["global_step"] == b["global_step"] == 3
    for name, value in a["state_dict"].items():
        torch.testing.assert_close(b["state_dict"][name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("length", [103, 600])
def test_shares_of_an_epoch(length: int) -> None:
    whole = list(EpochSampler(length, seed=4))
    shares = [list(EpochSampler(length, seed=4, world=2, rank=rank)) for rank in (0, 1)]
    assert [len(share) for share in shares] == [length // 2] * 2
    assert [item for pair in zip(*shares, strict=True) for item in pair] == whole[: length // 2 * 2]
    assert list(EpochSampler(length, seed=4, skip=30, world=2, rank=1)) == shares[1][30:]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_repeated_augmentation(world: int) -> None:
    """Three copies of an item side by side, on different devices; as many pictures an epoch as without."""
    samplers = [EpochSampler(600, seed=1, repeats=3, world=world, rank=rank) for rank in range(world)]
    shares = [list(sampler) for sampler in samplers]
    assert [len(share) for share in shares] == [len(sampler) for sampler in samplers] == [512 // world] * world
    order = [item for group in zip(*shares, strict=True) for item in group]
    triples = [order[start : start + 3] for start in range(0, len(order) - 2, 3)]
    assert all(len(set(triple)) == 1 for triple in triples)
    assert len({triple[0] for triple in triples}) == len(triples)
    samplers[0].set_epoch(1)
    assert list(samplers[0]) != shares[0]
    assert list(EpochSampler(600, seed=2, repeats=3, world=world)) != shares[0]

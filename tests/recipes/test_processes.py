"""Two processes of half the batch each train as one process does."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy
from safetensors.torch import load_file
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from atc import run
from atc.vit.backbones import read_weights
from datamodules.io.loaders import EpochSampler
from tests.harness import forked
from tests.harness.commands import ROOT, TINY, command, composed, environment

SETTINGS = [
    *("datamodule=shapes", "datamodule.target=class", "task=classification", "datamodule.num_workers=0"),
    *("datamodule.val=32", "datamodule.test=63", "trainer.limit_val_batches=1.0", "trainer.limit_test_batches=1.0"),
    *("reducer=topk", "baselines=false", "trainer.max_epochs=1", "optimizer.warmup_epochs=0", "benchmark.seconds=0.01"),
    *("optimizer.opt=sgd", "optimizer.lr=0.05"),  # Adam makes a whole step of a gradient that is 0 but for rounding
    *("trainer.limit_train_batches=8", "trainer.strategy=ddp"),
]
TWO = [*TINY, *SETTINGS, "datamodule.batch_size=8", "trainer.devices=2"]


TWICE = pytest.mark.xdist_group("two")  # one process makes what all of them read


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run over gloo, started as a user does; the drawn scenes are the same in every process."""
    here = tmp_path_factory.mktemp("two")
    done = command("train.py", *TWO, cwd=here)
    assert done.returncode == 0, done.stdout + done.stderr
    (directory,) = here.glob("runs/train/*")
    return directory


@TWICE
@pytest.mark.slow
def test_the_same_weights_and_metrics(tmp_path: Path, unbroken: Path) -> None:
    one = ["datamodule.batch_size=16", "trainer.strategy=auto"]
    expected = run.train(composed("train", tmp_path, *SETTINGS, *one))
    found = json.loads((unbroken / "results.json").read_text())
    for part in ("fine_tuned", "validation"):
        assert found["results"][part] == pytest.approx(expected.results[part], rel=1e-4)
    a, b = (torch.load(directory / "last.ckpt", weights_only=True) for directory in (tmp_path, unbroken))
    assert a["global_step"] == b["global_step"] == 8
    for name, value in a["state_dict"].items():
        torch.testing.assert_close(b["state_dict"][name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_each_run_of_a_multirun_has_its_processes(tmp_path: Path) -> None:
    """The second starts its own, does what it would do alone, and nothing lies beside the two directories."""
    settings = [said for said in TWO if not said.startswith("reducer=")]
    done = command("train.py", "-m", *settings, "reducer=topk,tome", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["store", "train_sweep"]
    found = sorted(tmp_path.glob("runs/train_sweep/*/*/results.json"))
    assert [file.parent.name for file in found] == ["0", "1"]
    for file, name in zip(found, ("topk", "tome"), strict=True):
        record = json.loads(file.read_text())
        assert (record["status"], record["reducer"]) == ("finished", name)
        assert (file.parent / "train_ddp_process_1.log").is_file()


class ShardedOnCPU(FSDPStrategy):
    """Fully sharded on CPUs: Lightning allows it on GPUs only, PyTorch if it is told the device."""

    def _setup_model(self, model: nn.Module) -> FullyShardedDataParallel:
        settings = {key: value for key, value in self.kwargs.items() if key != "device_id"}
        return FullyShardedDataParallel(model, device_id=torch.device("cpu"), **settings)


SHARDED = "trainer.strategy={_target_:tests.recipes.test_processes.ShardedOnCPU}"


@TWICE
@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["trainer.strategy=ddp", SHARDED], ids=["ddp", "fsdp"])
def test_killed_within_an_epoch(tmp_path: Path, unbroken: Path, strategy: str) -> None:
    """Both processes at once, as when a machine goes down; the same command goes on with the next batch.

    Where parameters are sharded, nothing else differs either: the same weights decay, and all are saved whole.
    """
    again = [*TWO, "resume=auto", "callbacks.stop_safely.minutes=0", strategy]
    process = forked.start([str(ROOT / "train.py"), *again], tmp_path, environment(), session=True)
    while not list(tmp_path.glob("runs/train/*/last.ckpt")):
        assert process.poll() is None, process.said()
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    (directory,) = tmp_path.glob("runs/train/*")
    assert 0 < torch.load(directory / "last.ckpt", weights_only=True)["global_step"] < 8
    done = command("train.py", *again, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "going on from" in done.stdout
    found, expected = (json.loads((folder / "results.json").read_text()) for folder in (directory, unbroken))
    for part in ("fine_tuned", "validation"):
        same = expected["results"][part]
        assert found["results"][part] == (pytest.approx(same, rel=1e-4) if strategy == SHARDED else same)
    a, b = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (directory, unbroken))
    rtol, atol = (1e-3, 1e-5) if strategy == SHARDED else (0, 0)
    assert list(a["state_dict"]) == list(b["state_dict"])
    for name, value in a["state_dict"].items():
        torch.testing.assert_close(value, b["state_dict"][name], rtol=rtol, atol=atol)
    weights, last = load_file(directory / "weights.safetensors"), read_weights(directory / "best.ckpt")
    assert all(torch.equal(weights[name], last[name]) for name in last)


def test_an_average_needs_whole_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"callbacks\.ema takes the average: callbacks=default does without"):
        run.build(composed("train", tmp_path, SHARDED, "callbacks=ema"))


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

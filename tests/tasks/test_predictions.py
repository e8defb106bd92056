"""Evaluations whose predictions are kept: which images they are of, and what they say."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch.utils.data import DataLoader, IterableDataset

from atc import run
from atc.report.paired import mean_average_precision
from atc.run import tracing
from atc.runs import predictions
from atc.tasks.predictions import Predictions
from atc.tasks.traced import Traced
from datamodules.io.pictures import Pictures
from tests.datamodules import on_disk
from tests.harness.commands import TINY, command, composed

parquet = pytest.importorskip("pyarrow.parquet")

ALL = ["trainer.limit_test_batches=1.0", "datamodule.eval_batch_size=50", "predictions=true", "keep_rate=0.5"]


def columns(directory: Path, name: str = "off_the_shelf") -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = parquet.read_table(directory / f"predictions_{name}.parquet").to_pydict()
    return found


def test_they_say_what_the_results_say(tmp_path: Path) -> None:
    record = run.evaluate(composed("evaluate", tmp_path, *ALL, "reducer=topk", "baselines=true"))
    for name in ("dense", "off_the_shelf"):
        found, result = columns(tmp_path, name), record.results[name]
        assert len(set(found["image"])) == 450
        assert found["correct"] == [
            one == other for one, other in zip(found["prediction"], found["target"], strict=True)
        ]
        assert np.mean(found["correct"]) == pytest.approx(result["accuracy"], abs=1e-7)
        assert np.mean(found["loss"]) == pytest.approx(result["loss"], rel=1e-5)
        top5 = [target in top for target, top in zip(found["target"], found["top"], strict=True)]
        assert np.mean(top5) == pytest.approx(result["top5"], abs=1e-7)
        brief = record.predictions[name]
        ordered = [right for _, right in sorted(zip(found["image"], found["correct"], strict=True))]
        assert predictions.correct_of(brief).tolist() == ordered
    assert record.predictions["dense"]["names"] == record.predictions["off_the_shelf"]["names"]
    assert predictions.read(tmp_path).file.name == "predictions_off_the_shelf.parquet"
    assert predictions.correct_of(brief | {"images": 451 + 8}) is None


def test_several_labels_an_image_and_going_on_after_a_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "Traced", functools.partial(Traced, chunk=40))
    asked = ["datamodule=shapes", "task=multilabel", "reducer=topk", "trace=true", "trainer.limit_test_batches=6"]
    asked += ["predictions=true"]
    whole = run.evaluate(composed("evaluate", tmp_path / "a", *asked))
    evaluated, left = Traced.__call__, [4]

    def dying(self: Traced, images: torch.Tensor) -> torch.Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return evaluated(self, images)

    with monkeypatch.context() as broken:
        broken.setattr(Traced, "__call__", dying)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run.evaluate(composed("evaluate", tmp_path / "b", *asked, "resume=auto"))
    run.evaluate(composed("evaluate", tmp_path / "b", *asked, "resume=auto"))
    one, other = columns(tmp_path / "a"), columns(tmp_path / "b")
    assert one == other
    assert one["image"] == [f"test/{n:06d}" for n in range(96)]
    found = predictions.read(tmp_path / "a")
    precision = whole.results["off_the_shelf"]["map"]
    once = np.ones((1, 96), dtype=np.int32)
    assert mean_average_precision(found.scores, found.targets, once)[0] == pytest.approx(precision, abs=1e-6)
    assert "correct" not in whole.predictions["off_the_shelf"]


def test_pictures_are_called_by_their_paths_below_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)  # the MD5 sums
    on_disk.write_nabirds(tmp_path / "birds")
    on_disk.write_shards(tmp_path / "shards", "val", 6, 3)
    on_disk.write_cifar100(tmp_path / "cifar100")
    for name, root, settings, first in (
        ("nabirds", "birds", {}, "images/"),
        ("imagenet", "shards", {"source": "webdataset"}, "imagenet1k-val-0000.tar "),
        ("cifar100", "cifar100", {}, "test/000000"),
    ):
        data = on_disk.load(name, f"{tmp_path}//{root}/", **settings)
        shown = data.test_dataloader().dataset
        names = [shown.image_name(index) for index in range(len(shown))]
        assert len(set(names)) == len(shown) > 1
        assert names[0].startswith(first), names[0]


def test_what_is_left_out_of_a_batch_is_not_named(tmp_path: Path) -> None:
    """One that cannot be read, and copies that fill up the last batch."""
    for n in range(5):
        on_disk.save(tmp_path / f"{n}.png", n)
    (tmp_path / "2.png").write_bytes(b"broken")
    paths = [str(tmp_path / f"{n}.png") for n in range(5)]
    shown = Pictures(paths, torch.arange(5), lambda image: torch.zeros(3), on_corrupt="skip", root=tmp_path)
    kept = Predictions(multilabel=False)
    loader = DataLoader(shown, 2, sampler=[0, 1, 2, 3, 4, 0])
    kept.begin(loader)
    for number, (_, targets) in enumerate(loader):
        kept.update(number, torch.eye(6)[targets] * 3, targets)
    found = kept.compute()
    assert found["target"].tolist() == [0, 1, 3, 4]
    assert found["correct"].all()
    kept.write(tmp_path, "x", found)
    assert columns(tmp_path, "x")["image"] == ["0.png", "1.png", "3.png", "4.png"]
    with pytest.raises(ValueError, match="batch 1 has 1 images and its sampler names 2"):
        kept.update(0, torch.eye(6)[:1], torch.tensor([0]))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([])


@pytest.mark.parametrize(
    "loaders", [DataLoader(Stream(), 2), DataLoader([1, 2], shuffle=True), [DataLoader([1]), DataLoader([2])]]
)
def test_images_in_no_order_are_refused(loaders: Any) -> None:
    with pytest.raises(ValueError, match="predictions=true needs test images in one order"):
        Predictions(multilabel=False).begin(loaders)


@pytest.mark.slow
def test_two_processes_keep_what_one_does(tmp_path: Path) -> None:
    """An odd number of scenes, each once."""
    settings = ["datamodule=shapes", "datamodule.test=9", "datamodule.target=class", "task=classification"]
    settings += ["datamodule.eval_batch_size=2", "datamodule.num_workers=0", "threads=1", "reducer=topk"]
    settings += ["predictions=true", "trainer.limit_test_batches=1.0"]
    run.evaluate(composed("evaluate", tmp_path / "one", *settings))
    tiny = [one for one in TINY if not one.startswith(("datamodule.", "trainer.limit", "trainer.max"))]
    two = ["trainer.devices=2", "trainer.strategy=ddp", "hydra.run.dir=two"]
    done = command("evaluate.py", *tiny, *settings, *two, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    one, both = (columns(tmp_path / name) for name in ("one", "two"))
    assert len(one["image"]) == 9
    assert one == both

"""Miniatures in the real formats, trained and evaluated as the command would."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atc.config.build import instantiate
from atc.run import evaluate, train
from tests.datamodules.on_disk import write_coco, write_nabirds, write_nus_wide
from tests.harness.commands import composed

# Lightning and torchmetrics remark on runs this short.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

MINIATURES: dict[str, tuple[Callable[[Path], Any] | None, str]] = {
    "nabirds": (lambda root: write_nabirds(root, train=30, test=20), "accuracy"),
    "coco": (lambda root: write_coco(root, train=30, val=20), "map"),
    "nus_wide": (lambda root: write_nus_wide(root, train=30, val=20), "map"),
    "shapes": (None, "map"),
}


@pytest.mark.parametrize("name", MINIATURES)
def test_a_data_set_brings_its_task(name: str, tmp_path: Path) -> None:
    """The record has the score that the data set is known by."""
    write, score = MINIATURES[name]
    if name == "coco":
        pytest.importorskip("pycocotools", reason="an extra: pip install 'atc-toolkit[coco]'")
    where = []
    if write is not None:
        write(tmp_path / "data")
        where = [f"datamodule.root={tmp_path / 'data'}"]
    settings = [f"datamodule={name}", "datamodule.num_workers=0", "reducer=tome", "baselines=false", *where]
    record = train(composed("train", tmp_path / "run", *settings, "trainer.max_epochs=1", "optimizer.warmup_epochs=0"))
    assert (record.datamodule, record.score) == (name, score)
    assert 0 < record.results["fine_tuned"][score] <= 1
    if score == "map":
        assert record.results["fine_tuned"]["map_torchmetrics"] >= record.results["fine_tuned"]["map"] - 1e-6
    assert score in record.results["validation"]


def test_corrupt_images_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In both parts, each once however often it was met; in the record, in the run directory and in what is said."""
    write_nabirds(tmp_path / "data", train=30, test=20)
    data = ["datamodule=nabirds", f"datamodule.root={tmp_path / 'data'}", "datamodule.num_workers=0"]
    data += ["trainer.limit_train_batches=1.0", "trainer.limit_test_batches=1.0", "benchmark.batch_size=8"]
    settings = [*data, "reducer=topk", "baselines=false", "trainer.max_epochs=2"]
    module = instantiate(composed("train", tmp_path, *settings).datamodule)
    broken = [module.parts["train"][0][3], *module.parts["test"][0][1:3]]
    for path in broken:
        Path(path).write_bytes(b"not a picture")
    with caplog.at_level(logging.INFO):
        record = train(composed("train", tmp_path / "run", *settings, "datamodule.on_corrupt=skip"))
    assert record.corrupt_images == 3
    assert (tmp_path / "run" / "corrupt_images.txt").read_text().splitlines() == sorted(broken)
    assert re.search(r"corrupt images skipped +3", caplog.text)
    assert evaluate(composed("evaluate", tmp_path / "digits", "reducer=none")).corrupt_images is None

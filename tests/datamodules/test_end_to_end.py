"""Miniatures in the real formats, trained and evaluated as the command would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atc.run import train
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
    assert (record["datamodule"], record["score"]) == (name, score)
    assert 0 < record["results"]["fine_tuned"][score] <= 1
    if score == "map":
        assert record["results"]["fine_tuned"]["map_torchmetrics"] >= record["results"]["fine_tuned"]["map"] - 1e-6
    assert score in record["results"]["validation"]

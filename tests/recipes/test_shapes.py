"""The recipe for drawn scenes, in miniature."""

from pathlib import Path

import pytest
import torch

from atc import run
from atc.vit.backbones import digits
from tests.harness.commands import composed


@pytest.mark.slow
def test_the_recipe(tmp_path: Path) -> None:
    """196 patches, Muon for the matrices; on few scenes it learns more than AdamW does at the same rate."""
    losses = {}
    for opt in ("muon", "adamw"):
        settings = ["experiment=shapes_multilabel", f"optimizer.opt={opt}", "datamodule.batch_size=16"]
        settings += [
            "datamodule.train=64",
            "datamodule.val=64",
            "datamodule.eval_batch_size=64",
            "benchmark.batch_size=4",
        ]
        settings += ["trainer.limit_train_batches=4", "trainer.max_epochs=4"]
        settings += ["datamodule.test=64", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1"]
        found = run.train(composed("train", tmp_path / opt, *settings))
        assert found.tokens_per_block == [196] * 12
        losses[opt] = found.results["fine_tuned"]["loss"]
        assert 0 < found.results["fine_tuned"]["map"] <= 1
    assert losses["muon"] < losses["adamw"], losses


@pytest.mark.parametrize("pretrained", [False, True])
def test_the_small_vit_at_another_size(pretrained: bool) -> None:
    vit = digits(img_size=56, pretrained=pretrained)
    assert vit.patch_embed.num_patches == 196
    assert vit.pretrained_cfg["input_size"] == (3, 56, 56)
    assert vit(torch.randn(2, 3, 56, 56)).shape == (2, 10)
    with pytest.raises(ValueError, match="img_size=30 is not a multiple of 4"):
        digits(img_size=30)

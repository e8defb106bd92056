"""Every file of conf/datamodule/ composes, builds, and brings a task that fits."""

from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tests.datamodules.on_disk import CONF
from tests.harness.commands import composed


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_builds_without_data_and_has_a_fitting_task(name: str, tmp_path: Path) -> None:
    for command in ("train", "evaluate"):
        cfg = composed(command, tmp_path, f"datamodule={name}")
        data = instantiate(cfg.datamodule)
        kinds = [kind for kind in ("multilabel", "detection", "segmentation") if getattr(data, kind, False)]
        task = kinds[0] if kinds else "classification"
        assert cfg.choices.task == task
        assert cfg.datamodule.seed == cfg.seed
        assert "defaults" not in OmegaConf.to_container(cfg.datamodule)


def test_a_task_on_the_command_line_wins(tmp_path: Path) -> None:
    cfg = composed("train", tmp_path, "datamodule=shapes", "datamodule.target=class", "task=classification")
    assert cfg.choices.task == "classification"
    assert not instantiate(cfg.datamodule).multilabel

"""Processes that a run of a multirun starts are for that run."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from atc import processes
from atc.config.build import conf_dir


@pytest.fixture
def multirun(monkeypatch: pytest.MonkeyPatch) -> Iterator[DictConfig]:
    """What Hydra holds, locked as it locks it, during a run of a multirun."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", ["reducer=tome"], return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.mode, cfg.hydra.job.config_name = "MULTIRUN", "train"
        cfg.hydra.overrides.task = ["reducer=tome"]
        cfg.hydra.run.dir = "${nowhere}"  # what holds for one run need not hold for several
        cfg.hydra.runtime.config_sources = []
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "reducer=tome,topk"])
    HydraConfig.instance().set_config(cfg)
    yield cfg
    HydraConfig.instance().cfg = None


@pytest.mark.usefixtures("multirun")
def test_started_for_one_run(tmp_path: Path) -> None:
    with processes.of_this_run(tmp_path):
        assert sys.argv == ["train.py", "--config-name=train", "reducer=tome", "hydra.mode=RUN"]
        assert HydraConfig.get().run.dir == str(tmp_path)
    assert sys.argv == ["train.py", "-m", "reducer=tome,topk"]
    assert OmegaConf.to_container(HydraConfig.get().run)["dir"] == "${nowhere}"


@pytest.mark.usefixtures("multirun")
def test_restored_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), processes.of_this_run(tmp_path):
        raise KeyError
    assert sys.argv == ["train.py", "-m", "reducer=tome,topk"]

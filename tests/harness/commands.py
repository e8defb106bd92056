"""Configurations as the commands compose them, and the commands themselves in a process of their own."""

import os
import subprocess
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from atc.config import build
from tests.harness import forked

ROOT = Path(__file__).parents[2]
# A training of six updates with two validations; a few images suffice to test and to measure.
TINY = [
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=3",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
    "trainer.accelerator=cpu",
    "datamodule.batch_size=8",
    "datamodule.eval_batch_size=16",
    "benchmark.batch_size=1",
    "benchmark.seconds=0",
    "~callbacks.progress",
    "+trainer.enable_progress_bar=false",
]


def composed(name: str, output_dir: Path, *overrides: str) -> DictConfig:
    """What atc.run.train or .evaluate is called with for a command line."""
    GlobalHydra.instance().clear()
    OmegaConf.register_new_resolver("run_dir", lambda *_: str(output_dir), replace=True)
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        cfg = compose(name, [*TINY, f"paths.store='{output_dir / 'store'}'", *overrides], return_hydra_config=True)
        choices = {
            key: value for key, value in cfg.hydra.runtime.choices.items() if "hydra" not in key and "@" not in key
        }
    with open_dict(cfg):
        del cfg["hydra"]
        cfg.output_dir, cfg.choices = str(output_dir), choices
    return cfg


def environment() -> dict[str, str]:
    """A process without network, without accounts, on one thread."""
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "offline",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "PYTHONPATH": str(ROOT),
    }


def command(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run train.py or evaluate.py to its end, in the directory `cwd`."""
    return forked.run([str(ROOT / script), *arguments], cwd, environment())

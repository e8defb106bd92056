"""The trainer of a run: that of its configuration, with what every run needs around it."""

from pathlib import Path

from lightning import Trainer
from omegaconf import DictConfig

from atc.config import objects
from atc.core.metric import Metric
from atc.runs import checkpoints
from atc.tasks import interrupt
from atc.tasks.checkpoint import write_whole_files
from atc.tasks.finite import StopNotFinite
from atc.tasks.moved import FollowsItsRun
from atc.tasks.sharding import check_launcher


def build_trainer(cfg: DictConfig, metric: Metric, *, resume: bool = False) -> Trainer:
    """A trainer that stops where numbers are not finite, writes files whole, and handles signals.

    Args:
        cfg: the configuration, with output_dir.
        metric: what checkpoints are selected by.
        resume: go on with the W&B run of the run that was interrupted.

    Returns:
        The trainer.

    Raises:
        ValueError: its strategy keeps results in processes of its own.
    """
    trainer = objects.build_trainer(
        cfg,
        metric,
        first=[StopNotFinite()],  # before those that save, or go by a score
        last=[FollowsItsRun(Path(cfg.output_dir), checkpoints.readable)],
        resume=resume,
    )
    check_launcher(trainer)
    write_whole_files(trainer)
    interrupt.arrange(trainer)
    return trainer

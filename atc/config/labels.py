"""Labels per image: what a task takes and a data set has."""

from typing import Any

from omegaconf import DictConfig


def check_labels(cfg: DictConfig, task: Any, datamodule: Any) -> None:
    """Refuse a data set with one label per image under a task that takes several, or the other way.

    Args:
        cfg: the configuration, for the names of both.
        task: the task, as the partial that a configuration makes.
        datamodule: the data set.

    Raises:
        ValueError: they do not go together; the message says which task does.
    """
    asked, there = (getattr(part, "multilabel", None) for part in (getattr(task, "func", None), datamodule))
    choices = cfg.choices or {}
    name, wants = (choices.get(group, cfg[group]._target_) for group in ("datamodule", "task"))
    if (asked, there) == (False, True):
        raise ValueError(f"datamodule={name} has several labels per image, task={wants} takes one: task=multilabel")
    if (asked, there) == (True, False):
        raise ValueError(f"datamodule={name} has one label per image, task={wants} takes several: task=classification")

"""Labels per image: what a task takes and a data set has."""

from typing import Any

from omegaconf import DictConfig


def check_labels(cfg: DictConfig, task: Any, datamodule: Any) -> None:
    """Refuse a data set under a task that takes other targets: one label per image, several, or boxes and masks.

    Args:
        cfg: the configuration, for the names of both.
        task: the task, as the partial that a configuration makes.
        datamodule: the data set.

    Raises:
        ValueError: they do not go together; the message says which task does.
    """
    choices = cfg.choices or {}
    name, wants = (choices.get(group, cfg[group]._target_) for group in ("datamodule", "task"))
    boxes, has_boxes = (getattr(part, "detection", False) for part in (getattr(task, "func", None), datamodule))
    if boxes and not has_boxes:
        raise ValueError(
            f"datamodule={name} has no boxes and masks, which task={wants} needs: datamodule=coco_detection or "
            f"shapes_detection"
        )
    if has_boxes and not boxes:
        raise ValueError(f"datamodule={name} has boxes and masks, which task={wants} does not take: task=detection")
    asked, there = (getattr(part, "multilabel", None) for part in (getattr(task, "func", None), datamodule))
    if (asked, there) == (False, True):
        raise ValueError(f"datamodule={name} has several labels per image, task={wants} takes one: task=multilabel")
    if (asked, there) == (True, False):
        raise ValueError(f"datamodule={name} has one label per image, task={wants} takes several: task=classification")

"""Labels per image: what a task takes and a data set has."""

from typing import Any

from omegaconf import DictConfig

# By the task that takes them: what targets are called, and which data sets have them.
_KINDS = {
    "detection": ("boxes and masks", "datamodule=coco_detection or shapes_detection"),
    "segmentation": ("labels of pixels", "datamodule=ade20k, voc_segmentation or shapes_segmentation"),
}


def check_labels(cfg: DictConfig, task: Any, datamodule: Any) -> None:
    """Refuse a data set under a task that takes other targets: one label per image, several, boxes and masks, or maps.

    Args:
        cfg: the configuration, for the names of both.
        task: the task, as the partial that a configuration makes.
        datamodule: the data set.

    Raises:
        ValueError: they do not go together; the message says which task does.
    """
    choices = cfg.choices or {}
    name, wants = (choices.get(group, cfg[group]._target_) for group in ("datamodule", "task"))
    of_task = getattr(task, "func", None)
    for kind, (targets, data) in _KINDS.items():
        takes, has = (getattr(part, kind, False) for part in (of_task, datamodule))
        if takes and not has:
            raise ValueError(f"datamodule={name} has no {targets}, which task={wants} needs: {data}")
        if has and not takes:
            raise ValueError(f"datamodule={name} has {targets}, which task={wants} does not take: task={kind}")
    asked, there = (getattr(part, "multilabel", None) for part in (of_task, datamodule))
    if (asked, there) == (False, True):
        raise ValueError(f"datamodule={name} has several labels per image, task={wants} takes one: task=multilabel")
    if (asked, there) == (True, False):
        raise ValueError(f"datamodule={name} has one label per image, task={wants} takes several: task=classification")

"""What a configuration describes, built: one function for each part, that returns what it builds."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer

from atc.config import frozen, teacher
from atc.config.build import find_reducer, instantiate, nearest
from atc.config.labels import check_labels
from atc.config.selecting import direction
from atc.core import Stages
from atc.core.metric import Metric
from atc.faults import first_words
from atc.runs import csv_log, wandb_log
from atc.vit.images import data_config
from atc.vit.reduced import ReducedViT

log = logging.getLogger(__name__)


class Built(NamedTuple):
    """What is trained and tested, and on what.

    Attributes:
        datamodule: the data set.
        vit: the backbone.
        model: the same with its tokens reduced.
        metric: what the task is scored by.
        teacher: a model that reduces nothing, for the method's losses to learn from, if the configuration has one.
    """

    datamodule: LightningDataModule
    vit: nn.Module
    model: ReducedViT
    metric: Metric
    teacher: ReducedViT | None


def build_model(cfg: DictConfig, *, with_weights: bool = True, num_classes: int | None = None) -> Built:
    """The data set, and a model with as many outputs as it has classes; the data set learns what images it takes.

    Args:
        cfg: the configuration.
        with_weights: False leaves pretrained weights out, for a checkpoint that replaces them all.
        num_classes: of a task on more than a classifier; None: as the data set has, whose files are read for it.

    Returns:
        The parts.

    Raises:
        ValueError: data set and task do not go together.
    """
    selection = {"selection": cfg.selection} if cfg.get("selection") else {}
    datamodule: Any = instantiate(cfg.datamodule, **selection)  # with what docs/data_set.md lists beside Lightning's
    task = instantiate(cfg.task)
    check_labels(cfg, task, datamodule)
    weights = {} if with_weights else {"pretrained": False, "checkpoint": None}
    build_models = getattr(task.func, "build_models", None)  # of a task on more than a classifier
    vit: nn.Module = frozen.build_backbone(cfg, 0 if build_models else datamodule.num_classes, **weights)
    datamodule.adapt(data_config(vit))
    reducer, schedule = instantiate(cfg.reducer), instantiate(cfg.schedule)
    if build_models:
        if cfg.get("activation_checkpointing"):
            _recompute(vit)
        switches = {key: cfg.get(key) for key in ("as_released", "proportional_attention", "size_weighted")}
        classes = datamodule.num_classes if num_classes is None else num_classes
        model, vit = build_models(vit, classes, reducer, schedule, **switches, **task.keywords)
        return Built(datamodule, vit, model, task.func.metric_named(cfg.score), None)
    model = ReducedViT(vit, reducer, schedule, cfg.proportional_attention, cfg.size_weighted)
    learnt_from = _build_teacher(cfg, model, datamodule.num_classes)
    if cfg.get("activation_checkpointing"):
        _recompute(vit)
    return Built(datamodule, vit, model, task.func.metric_named(cfg.score), learnt_from)


def _recompute(vit: Any) -> None:
    if not hasattr(vit, "set_grad_checkpointing"):
        raise ValueError(f"activation_checkpointing=true: this {type(vit).__name__} has no set_grad_checkpointing")
    vit.set_grad_checkpointing()


def _build_teacher(cfg: DictConfig, model: ReducedViT, num_classes: int) -> ReducedViT | None:
    """The model, without reduction, that a method's losses learn from; None for a configuration without.

    Raises:
        ValueError: no loss of the method uses one, or its classes are not those of the data set.
    """
    node = teacher.node(cfg.get("teacher"), cfg.backbone)
    if node is None:
        return None
    if not model.losses_ask:
        name = model.method.__name__
        raise ValueError(f"teacher={cfg.teacher}: {name} has no losses(plans, context) to learn from it with")
    vit = instantiate(node, num_classes=None, **teacher.of_run(node)) if teacher.is_trained(node) else None
    teacher.check_classes(cfg.teacher, vit, num_classes)
    vit = instantiate(node, num_classes=num_classes) if vit is None else vit
    built = ReducedViT(vit, find_reducer("none"), Stages(1.0))
    _check_images(cfg, model, built)
    return built


def _check_images(cfg: DictConfig, model: ReducedViT, of_teacher: ReducedViT) -> None:
    """A teacher sees the images of the backbone: ValueError if it cannot, a warning if it is used to others."""
    ours, theirs = data_config(model.host.model), data_config(of_teacher.host.model)
    height, width = ours["input_size"][-2:]
    if (height, width) != tuple(theirs["input_size"][-2:]):
        try:
            with torch.no_grad():
                of_teacher.host.embed(torch.zeros(1, 3, height, width))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"teacher={cfg.teacher}: it sees the backbone's images of {height} x {width} pixels, and cannot: "
                f"{first_words(error)}"
            ) from error
    for key in ("mean", "std"):
        if tuple(ours[key]) != tuple(theirs[key]):
            log.warning("teacher: it sees images of the backbone's %s %s; its own is %s", key, ours[key], theirs[key])


def build_task(cfg: DictConfig, model: nn.Module, datamodule: Any) -> LightningModule:
    """The task on a model, which makes the optimizer of the configuration when the training begins."""
    configure = instantiate(cfg.optimizer) if cfg.get("optimizer") else None
    task: LightningModule = instantiate(cfg.task)(model, datamodule.num_classes, configure)
    _check_score(cfg, task)
    return task


def _check_score(cfg: DictConfig, task: Any) -> None:
    """ValueError for a score that no epoch would have; a task of somebody's own may log more than its metrics."""
    if not type(task).__module__.startswith("atc.") or not hasattr(task, "val_metrics"):
        return
    known = sorted(getattr(task, "scores_logged", {key.rpartition("/")[2] for key in task.val_metrics} | {"loss"}))
    if cfg.get("score") not in (None, *known):
        raise ValueError(f"score={cfg.score}: {nearest(str(cfg.score), known)}")


def build_trainer(
    cfg: DictConfig, metric: Metric, first: list[Callback], last: list[Callback], *, resume: bool = False
) -> Trainer:
    """The trainer with its logger, and the callbacks of the configuration between others.

    Args:
        cfg: the configuration, with output_dir.
        metric: what checkpoints are selected by.
        first: callbacks before those of the configuration.
        last: callbacks after them.
        resume: go on with the W&B run that was begun in the run directory.

    Returns:
        The trainer.
    """
    own = [instantiate(node, **direction(node, metric)) for node in cfg.callbacks.values() if node is not None]
    loggers = []
    if cfg.logger:
        same = wandb_log.same_run(cfg.logger, Path(cfg.output_dir)) if resume else {}
        loggers.append(instantiate(cfg.logger, **same))
        csv_log.without_failing(loggers[0])
    return instantiate(cfg.trainer)(callbacks=[*first, *own, *last], logger=loggers or False)


def build_optimizer(
    cfg: DictConfig, task: LightningModule, trainer: Trainer, datamodule: LightningDataModule
) -> Optimizer | None:
    """The optimizer as the training will make it, to be thrown away; None for a configuration without."""
    if not cfg.get("optimizer"):
        return None
    epochs = trainer.max_epochs or 0
    epochs = epochs if epochs > 0 else 10_000  # max_steps says how long: the warm-up fits in, for all we know
    made = instantiate(cfg.optimizer)(task.model, 10 * epochs, epochs, getattr(datamodule, "batch_size", 0))
    return made["optimizer"]

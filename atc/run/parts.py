"""What a configuration describes, built, and a run that records what becomes of it."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from lightning import LightningDataModule, LightningModule, Trainer, seed_everything
from omegaconf import DictConfig
from torch import nn

from atc import provenance
from atc.config import frozen, objects
from atc.config.together import check_length
from atc.core.metric import Metric
from atc.run.loading import load
from atc.runs import directories
from atc.runs.context import Run
from atc.runs.settings import plain_settings
from atc.tasks.compiled import compile_in_place
from atc.tasks.predictions import Predictions
from atc.tasks.sharding import shards
from atc.tasks.teacher import Teacher
from atc.tasks.trainer import build_trainer
from atc.vit.cuda_graph import Replayed
from atc.vit.reduced import ReducedViT


@dataclass(frozen=True)
class Parts:
    """What a configuration describes, built.

    Attributes:
        cfg: the configuration.
        datamodule: the data set.
        vit: the model without reduction.
        model: the same with its tokens reduced.
        metric: what the task is scored by.
        teacher: what the method learns from besides labels, if the configuration has one.
        trainer: what trains and tests.
        task: what is trained: `model`, or a copy of it for a strategy that shards.
        shards: whether the strategy leaves each device a share of the weights.
    """

    cfg: DictConfig
    datamodule: LightningDataModule
    vit: nn.Module
    model: ReducedViT
    metric: Metric
    teacher: Teacher | None
    trainer: Trainer
    task: LightningModule
    shards: bool


def build(cfg: DictConfig, *, with_weights: bool = True, resume: bool = False, training: bool = False) -> Parts:
    """Build what a configuration describes.

    Args:
        cfg: the configuration, with output_dir.
        with_weights: False leaves the backbone's pretrained weights out, for a checkpoint that replaces them all.
        resume: go on with the W&B run of the run that was interrupted.
        training: refuse at once what a training would complain of later.

    Returns:
        The parts.

    Raises:
        ValueError: settings do not go together, or leave nothing to do.
    """
    seed_everything(cfg.seed, workers=True, verbose=False)
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    if cfg.benchmark.batch_size < 1:
        raise ValueError(f"benchmark.batch_size={cfg.benchmark.batch_size} must be 1 or more")
    if cfg.trainer.limit_test_batches == 0:
        raise ValueError("trainer.limit_test_batches=0 leaves nothing to test")
    start = cfg.task.get("checkpoint") if with_weights else None  # of a task whose models are more than a backbone
    datamodule, vit, model, metric, learnt_from = objects.build_model(cfg, with_weights=with_weights and start is None)
    if start is not None:
        started: Any = vit
        started.load_notices = load(model, directories.checkpoint_file(start))
    teacher = None if learnt_from is None else Teacher(learnt_from)
    for module in (vit, model):
        compile_in_place(module, cfg.get("compile"))
    trainer = build_trainer(cfg, metric, resume=resume)
    sharded = shards(trainer)
    if cfg.get("cuda_graph"):
        _check_replay(trainer, sharded, model)
    task = task_of(cfg, model, datamodule, teacher, sharded)
    parts = Parts(cfg, datamodule, vit, model, metric, teacher, trainer, task, sharded)
    if training:
        check_training(parts)
    return parts


def task_of(
    cfg: DictConfig, model: nn.Module, datamodule: LightningDataModule, teacher: Teacher | None, sharded: bool
) -> LightningModule:
    """The task on a model.

    Args:
        cfg: the configuration.
        model: what is trained or tested; a strategy that shards gets a copy, which it never puts together again.
        datamodule: the data set.
        teacher: what the method learns from besides labels; neither trained nor saved.
        sharded: whether the strategy shards.

    Returns:
        The task.
    """
    if sharded:
        model = copy.deepcopy(model)
        compile_in_place(model, cfg.get("compile"))
    task = objects.build_task(cfg, model, datamodule)
    task.teacher = teacher  # type: ignore[assignment]  # no module of the task
    if cfg.get("predictions"):
        task.test_predictions = Predictions(bool(task.multilabel))
    if cfg.get("cuda_graph"):
        task.replayed = Replayed(model)  # type: ignore[assignment]  # likewise
    return task


def _check_replay(trainer: Trainer, sharded: bool, model: nn.Module) -> None:
    if not getattr(model, "replayable", True):
        raise ValueError(
            f"cuda_graph=true replays a forward for images of one size, which a {type(model).__name__} does not have"
        )
    device = trainer.strategy.root_device
    if device.type != "cuda":
        raise ValueError(f"cuda_graph=true needs a GPU, and this run is on the {device.type}")
    if sharded:
        raise ValueError("cuda_graph=true needs the whole model on each GPU: trainer.strategy=ddp or auto")


def optimizer_of(parts: Parts) -> torch.optim.Optimizer | None:
    """The optimizer as the training will make it, to be thrown away; None for a configuration without."""
    return objects.build_optimizer(parts.cfg, parts.task, parts.trainer, parts.datamodule)


def check_training(parts: Parts) -> None:
    """Refuse what a training would complain of only when all has been evaluated.

    Args:
        parts: what is trained.

    Raises:
        ValueError: there is nothing to train on, or its length or batches do not fit.
    """
    cfg, datamodule, trainer, task = parts.cfg, parts.datamodule, parts.trainer, parts.task
    if hasattr(datamodule, "check_training"):
        datamodule.check_training()
    if cfg.trainer.limit_train_batches == 0:
        raise ValueError("trainer.limit_train_batches=0 leaves nothing to train on")
    check_length(trainer.max_epochs, trainer.max_steps)
    check_batch = getattr(task, "check_batch", None)
    if callable(check_batch):
        check_batch(getattr(datamodule, "batch_size", 0))
    optimizer_of(parts)


def run_of(parts: Parts, notices: list[str], *, resume: bool = False) -> Run:
    """The run of these parts, not begun yet.

    Args:
        parts: what is run.
        notices: lines for the record, besides those of the model and of the settings.
        resume: go on with the record that is there.

    Returns:
        The run.
    """
    own = [*parts.model.notices, *getattr(parts.vit, "load_notices", [])]
    said: Any = getattr(parts.task, "run_notices", None)
    if said is not None:
        trainer, each = parts.trainer, getattr(parts.datamodule, "batch_size", 0)
        own += said(each * trainer.accumulate_grad_batches * trainer.world_size)
    return Run(
        parts.cfg,
        _settings(parts),
        [*own, *notices, *_cut_short(parts.cfg)],
        resume=resume,
        loggers=parts.trainer.loggers,
    )


def _settings(parts: Parts) -> dict[str, Any]:
    cfg = parts.cfg
    choices = cfg.choices or {}
    schedule = {k: v for k, v in plain_settings(cfg.schedule, resolve=True).items() if k[0] != "_"}
    return {
        **{group: name for group, name in choices.items() if name is not None},
        "reduces": parts.model.method.reduces,
        "schedule": _describe(choices.get("schedule", "schedule"), schedule),
        "score": cfg.score,
        "metric": parts.metric._asdict(),
        "seed": cfg.seed,
        "selection": getattr(parts.datamodule, "selection", "validation") if "optimizer" in cfg else None,
        "reader": getattr(parts.datamodule, "reader", None),
        "precision": str(parts.trainer.precision),
        "tf32": provenance.tf32(parts.trainer.strategy.root_device.type == "cuda"),
        **frozen.described(cfg),
    }


def _describe(name: str, settings: dict[str, Any]) -> str:
    shown = ", ".join(f"{key}={value}" for key, value in settings.items() if value not in (None, False))
    return f"{name}: {shown}"


def _cut_short(cfg: DictConfig) -> list[str]:
    """That a training is on a part of the images only; for evaluations but probes the record has all."""
    asked: tuple[str, ...] = ("limit_train_batches", "overfit_batches", "fast_dev_run")
    if "optimizer" not in cfg:
        asked = asked[:1] if cfg.task["_target_"] == frozen.PROBE else ()
    parts = {key: cfg.trainer.get(key) for key in asked}
    whole = (None, 0, False)
    return [
        f"trainer.{key}={value}: not all training images are used"
        for key, value in parts.items()
        if value not in whole and not (isinstance(value, float) and value == 1)
    ]

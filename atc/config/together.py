"""Settings that have to go together."""

import importlib.util
import re
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from atc import constants
from atc.config import frozen, teacher
from atc.extras import needs
from atc.values import shown

_WITHOUT_TEACHER = ("atc.tasks.detection.Detection", "atc.tasks.segmentation.Segmentation")


def check(cfg: DictConfig, command: str) -> None:
    """ValueError for settings each of which may be, but not with the others.

    Args:
        cfg: composed, with values that are checked.
        command: "train" or "evaluate".
    """
    trainer = cfg.trainer
    if trainer.get("limit_test_batches") == 0:
        raise ValueError("trainer.limit_test_batches=0 leaves nothing to test")
    if trainer.get("devices") in (0, "0") or trainer.get("devices") == []:
        raise ValueError(f"trainer.devices={trainer.devices} leaves nothing to run on; trainer.devices=1")
    devices = trainer.get("devices")
    if isinstance(devices, str) and not re.fullmatch(r"auto|-1|\d+(,\d+)*,?", devices):
        raise ValueError(f"trainer.devices={devices} must be a number of devices, a list of them as in [0, 1], or auto")
    check_shares(cfg.schedule.get("keep_rate"), cfg.schedule.get("blocks"))
    check_shares(cfg.schedule.get("threshold"), cfg.schedule.get("blocks"), "threshold")
    _check_threshold(cfg)
    frozen.check(cfg, command)
    if str((cfg.get("logger") or {}).get("_target_")).endswith(".WandbLogger"):
        needs("logger=wandb", "wandb", "wandb")
    if command != "train":
        _check_trace(cfg)
        _check_predictions(cfg)
        return
    if teacher.node(cfg.get("teacher"), cfg.backbone) is not None and str(cfg.task.get("_target_")) in _WITHOUT_TEACHER:
        raise ValueError(
            f"teacher={shown(cfg.teacher)} gives logits and features to learn from, which only task=classification and "
            f"multilabel use"
        )
    if trainer.get("limit_train_batches") == 0:
        raise ValueError("trainer.limit_train_batches=0 leaves nothing to train on")
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    check_length(epochs, steps)
    warmup = cfg.optimizer.get("warmup_epochs")
    if epochs is not None and epochs > 0 and isinstance(warmup, (int, float)):
        check_warmup(warmup, epochs)


def _check_trace(cfg: DictConfig) -> None:
    """ValueError for a trace that cannot be written, or goes on with something else."""
    if cfg.get("resume") not in (None, "auto"):
        raise ValueError(f"resume={cfg.resume}: an evaluation goes on as in resume=auto, the same command again")
    if not cfg.get("trace") and cfg.get("resume") is not None:
        raise ValueError("resume=auto: unknown setting 'resume' of an evaluation without a trace: add trace=true")
    if not cfg.get("trace"):
        if cfg.get("cls_features") is not None:
            raise ValueError(f"cls_features={list(cfg.cls_features)} are part of a trace: add trace=true")
        return
    for name in ("compile", "cuda_graph"):
        if cfg.get(name):
            raise ValueError(f"trace=true looks at every block, which {name}={shown(cfg[name])} leaves no room for")
    task = str(cfg.task.get("_target_")).rpartition(".")[2].lower()
    if task in ("probe", "detection", "segmentation"):
        raise ValueError(f"trace=true goes with task=classification, multilabel or zero_shot, not with task={task}")
    devices, nodes = cfg.trainer.get("devices"), cfg.trainer.get("num_nodes", 1)
    if devices not in (1, "1", "auto", [0]) or nodes != 1:
        raise ValueError(f"trace=true writes the images of one device: trainer.devices=1, not {shown(devices)}")
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(
            'trace=true writes Parquet with pyarrow, which is not installed: pip install "atc-toolkit[study]"'
        )


def _check_predictions(cfg: DictConfig) -> None:
    """ValueError for predictions that cannot be kept."""
    if not cfg.get("predictions"):
        return
    task = str(cfg.task.get("_target_")).rpartition(".")[2].lower()
    if task in ("detection", "segmentation"):
        raise ValueError(
            f"predictions=true keeps what is said of each image, with task=classification, multilabel, zero_shot or "
            f"probe, not with task={task}"
        )
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(
            'predictions=true writes Parquet with pyarrow, which is not installed: pip install "atc-toolkit[study]"'
        )


def _check_threshold(cfg: DictConfig) -> None:
    """ValueError for a threshold without a method that stops there, and the other way round."""
    threshold, target = cfg.schedule.get("threshold"), str(cfg.reducer.get("_target_"))
    stops = constants.sets_true(target, "by_threshold")
    named = (cfg.get("choices") or {}).get("reducer", target)
    if stops and threshold is None:
        raise ValueError(
            f"reducer={named} merges up to a distance: give a threshold and no schedule but stages, as in threshold=0.3"
            f", in place of a keep rate or t; python -m atc.calibrate finds the one for a keep rate"
        )
    if threshold is not None and not stops and not constants.sets_false(target, "reduces"):
        raise ValueError(
            f"threshold={shown(threshold)} is for methods that merge up to a distance, such as "
            f"reducer=atc_average_dynamic; reducer={named} takes a keep_rate"
        )


def check_shares(given: Any, blocks: Any, name: str = "keep_rate") -> None:
    """ValueError for keep rates, or thresholds, of every stage that are more or fewer than the stages."""
    if isinstance(given, Sequence) and isinstance(blocks, Sequence) and len(given) != len(blocks):
        values, one = [shown(value) for value in given], "share" if name == "keep_rate" else "number"
        raise ValueError(
            f"{name}=[{', '.join(values)}] needs one {one} for each of the blocks {list(blocks)}; for one run each: "
            f"-m {name}={','.join(values)}"
        )


def check_length(epochs: int | None, steps: int) -> None:
    """ValueError if neither the epochs nor the steps of a trainer say how long to train."""
    if (epochs is None or epochs < 1) and steps < 1:
        said = "null" if epochs is None else epochs
        raise ValueError(
            f"trainer.max_epochs={said} and trainer.max_steps={steps} do not say how long to train: one of them has to "
            f"be positive (to evaluate only, there is the evaluate command)"
        )


def check_warmup(warmup_epochs: float, epochs: int) -> None:
    """ValueError if a training is all warm-up."""
    if warmup_epochs >= epochs and warmup_epochs:
        raise ValueError(
            f"optimizer.warmup_epochs={warmup_epochs} leaves nothing of trainer.max_epochs={epochs}: for a short "
            f"training, optimizer.warmup_epochs=0"
        )

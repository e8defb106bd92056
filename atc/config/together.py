"""Settings that have to go together."""

import re
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from atc.config import frozen, teacher
from atc.values import shown


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
    frozen.check(cfg, command)
    if command != "train":
        return
    teacher.node(cfg.get("teacher"))
    if trainer.get("limit_train_batches") == 0:
        raise ValueError("trainer.limit_train_batches=0 leaves nothing to train on")
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    check_length(epochs, steps)
    warmup = cfg.optimizer.get("warmup_epochs")
    if epochs is not None and epochs > 0 and isinstance(warmup, (int, float)):
        check_warmup(warmup, epochs)


def check_shares(keep_rate: Any, blocks: Any) -> None:
    """ValueError for keep rates of every stage that are more or fewer than the stages."""
    if isinstance(keep_rate, Sequence) and isinstance(blocks, Sequence) and len(keep_rate) != len(blocks):
        rates = [shown(rate) for rate in keep_rate]
        raise ValueError(
            f"keep_rate=[{', '.join(rates)}] needs one share for each of the blocks {list(blocks)}; for one run each: "
            f"-m keep_rate={','.join(rates)}"
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

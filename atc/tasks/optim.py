"""timm's optimisers and schedulers, as Lightning wants them."""

import math
from typing import Any

from lightning import Trainer
from timm.optim import create_optimizer_v2, param_groups_weight_decay
from timm.scheduler import create_scheduler_v2
from torch import nn


def training_length(trainer: Trainer) -> tuple[int, int]:
    """Updates and epochs that `trainer` will make on its data module.

    Unlike Lightning's `estimated_stepping_batches` it does not open the training data, which before a resumed
    run has its state back would start it at the wrong place.
    """
    batches = len(trainer.datamodule.train_dataloader()) // trainer.world_size  # type: ignore[attr-defined]
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    epochs = trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs > 0 else None
    if epochs is None and trainer.max_steps < 1:
        raise ValueError(f"trainer.max_epochs={trainer.max_epochs} and max_steps={trainer.max_steps}: one must end it")
    updates = math.inf if epochs is None else epochs * math.ceil(batches / trainer.accumulate_grad_batches)
    return int(min(updates, trainer.max_steps if trainer.max_steps > 0 else math.inf)), epochs or 1


def configure(
    model: nn.Module,
    total_steps: int,
    epochs: int,
    *,
    opt: str,
    lr: float,
    weight_decay: float,
    sched: str,
    warmup_epochs: float = 0,
    warmup_prefix: bool = True,
    warmup_lr: float = 0.0,
    min_lr: float = 0.0,
    opt_args: dict[str, Any] | None = None,
    sched_args: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What `LightningModule.configure_optimizers` returns for `model`, trained for total_steps updates.

    opt, sched: timm's names ("adamw", "cosine"); opt_args, sched_args: more of timm's settings for them.
    weight_decay: for matrices only; biases, norms and what the backbone names (positions, CLS) go without.
    warmup_prefix: the schedule starts after the warm-up, in the epochs that are left; False: it runs from epoch
    0 underneath the warm-up, and the rate jumps where that ends (as in the recipes of DeiT).
    """
    if warmup_epochs >= epochs and warmup_epochs:
        raise ValueError(f"optimizer.warmup_epochs={warmup_epochs} leaves nothing of trainer.max_epochs={epochs}")
    spared = getattr(getattr(model, "vit", model), "no_weight_decay", set)()
    spared = {name for name, _ in model.named_parameters() if name.removeprefix("vit.") in spared}
    groups = param_groups_weight_decay(model, weight_decay, no_weight_decay_list=spared)
    optimizer = create_optimizer_v2(groups, opt, lr=lr, weight_decay=weight_decay, **(opt_args or {}))
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched,
        num_epochs=epochs - warmup_epochs if warmup_prefix else epochs,
        warmup_epochs=warmup_epochs,
        warmup_prefix=warmup_prefix,
        warmup_lr=warmup_lr,
        min_lr=min_lr,
        step_on_epochs=False,
        updates_per_epoch=max(1, round(total_steps / epochs)),
        **(sched_args or {}),
    )
    if scheduler is None:
        return {"optimizer": optimizer}
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

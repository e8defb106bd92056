"""timm's optimisers and schedulers, in the form that Lightning takes."""

import math
from typing import Annotated, Any, NamedTuple

from lightning import Trainer
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import nn
from torch.utils.data.distributed import DistributedSampler

from atc.config.together import check_length, check_warmup
from atc.tasks.groups import Freeze, parameter_groups
from atc.values import NotNegative, Positive, shown


class Length(NamedTuple):
    """How long a training is."""

    updates: int
    epochs: int
    batch: int  # images behind one update, of all devices; 0 = not known


def training_length(trainer: Trainer) -> Length:
    """What `trainer` will do on its data module.

    Unlike Lightning's `estimated_stepping_batches` it does not open the training data, which before a resumed
    run has its state back would start it at the wrong place.
    """
    check_length(trainer.max_epochs, trainer.max_steps)
    data: Any = trainer.datamodule  # type: ignore[attr-defined]  # not in Lightning's types
    loader = data.train_dataloader()
    batches = len(loader)
    if not isinstance(getattr(loader, "sampler", None), DistributedSampler):  # Lightning will share the batches out
        batches //= trainer.world_size
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    if batches < 1:
        raise ValueError(
            f"there is nothing to train on: {len(loader)} batches of the training pictures for "
            f"{trainer.world_size} devices, of which trainer.limit_train_batches={limit}"
        )
    epochs = trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs > 0 else None
    per_epoch = math.ceil(batches / trainer.accumulate_grad_batches)
    if epochs is None:
        updates, epochs = trainer.max_steps, math.ceil(trainer.max_steps / per_epoch)
    else:
        updates = min(epochs * per_epoch, trainer.max_steps if trainer.max_steps > 0 else epochs * per_epoch)
    batch = getattr(data, "batch_size", 0) * trainer.accumulate_grad_batches * trainer.world_size
    return Length(updates, epochs, batch)


def configure(
    model: nn.Module,
    total_steps: int,
    epochs: int,
    batch: int = 0,
    *,
    opt: str,
    lr: NotNegative,
    weight_decay: NotNegative,
    sched: str,
    lr_batch_normalizer: Positive | None = None,
    backbone_lr_scale: NotNegative | None = None,
    backbone_freeze_epochs: NotNegative | None = None,
    layer_decay: Annotated[float, "(0, 1]"] | None = None,
    warmup_epochs: NotNegative = 0,
    warmup_prefix: bool = True,
    warmup_lr: NotNegative = 0.0,
    min_lr: NotNegative = 0.0,
    as_released: bool = False,
    opt_args: dict[str, Any] | None = None,
    sched_args: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What `LightningModule.configure_optimizers` returns for `model`, trained for total_steps updates.

    Args:
        model: the model, wrapped or not.
        total_steps: updates of the whole training.
        epochs: of the whole training.
        batch: images behind one update.
        opt: timm's name of the optimiser, such as "adamw".
        lr: the highest rate.
        weight_decay: for matrices only.
        sched: timm's name of the schedule, such as "cosine".
        lr_batch_normalizer: lr is for this many images per update, and grows with `batch`; None: lr as it is.
        backbone_lr_scale: see `parameter_groups`.
        backbone_freeze_epochs: see `Freeze`.
        layer_decay: see `parameter_groups`.
        warmup_epochs: in which the rate rises from warmup_lr.
        warmup_prefix: the schedule starts after the warm-up, in the epochs that are left; False: it runs from epoch 0
            underneath the warm-up, and the rate jumps where that ends (as in the recipes of DeiT).
        warmup_lr: the rate of the first update.
        min_lr: the rate at the end.
        as_released: as warmup_prefix=False.
        opt_args: more of timm's settings for the optimiser.
        sched_args: more of timm's settings for the schedule.

    Raises:
        ValueError: settings that do not go together.
    """
    check_warmup(warmup_epochs, epochs)
    if backbone_freeze_epochs and (layer_decay is not None or sched == "none"):
        raise ValueError(
            f"optimizer.backbone_freeze_epochs={backbone_freeze_epochs} needs a schedule to freeze in (sched={sched}) "
            f"and no layer_decay ({layer_decay})"
        )
    if sched == "plateau":
        raise ValueError("optimizer.sched=plateau waits for a metric, and rates are set at every update: sched=cosine")
    if lr_batch_normalizer is not None:
        if lr_batch_normalizer <= 0:
            raise ValueError(f"optimizer.lr_batch_normalizer={lr_batch_normalizer} must be positive, or null")
        if batch < 1:
            raise ValueError(f"optimizer.lr_batch_normalizer={lr_batch_normalizer}: the data module has no batch_size")
        lr = lr * batch / lr_batch_normalizer
    groups = parameter_groups(model, lr, weight_decay, layer_decay, backbone_lr_scale)
    try:
        optimizer = create_optimizer_v2(groups, opt, lr=lr, weight_decay=weight_decay, **(opt_args or {}))
    except TypeError as error:
        if opt_args and "unexpected keyword" not in str(error):
            raise ValueError(f"optimizer.opt_args={shown(opt_args)}: {error}") from error
        raise
    warmup_prefix = warmup_prefix and not as_released
    updates_per_epoch = max(1, round(total_steps / epochs))
    # Parts of epochs too, which timm counts in updates and does not annotate
    length: dict[str, Any] = {
        "num_epochs": epochs - warmup_epochs if warmup_prefix else epochs,
        "warmup_epochs": warmup_epochs,
    }
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched,
        **length,
        warmup_prefix=warmup_prefix,
        warmup_lr=warmup_lr,
        min_lr=min_lr,
        step_on_epochs=False,
        updates_per_epoch=updates_per_epoch,
        **(sched_args or {}),
    )
    if scheduler is None:
        if sched != "none":
            raise ValueError(f"optimizer.sched={sched} is none of timm's: cosine, tanh, step, multistep, poly or none")
        return {"optimizer": optimizer}
    if backbone_freeze_epochs:
        scheduler = Freeze(scheduler, round(backbone_freeze_epochs * updates_per_epoch))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

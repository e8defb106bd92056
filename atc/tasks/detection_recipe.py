"""How detectors on ViT-Adapter are trained (Table 3 of arXiv 2409.11923): AdamW, one rate, steps by epoch."""

from collections.abc import Sequence
from typing import Annotated, Any

from torch import nn
from torch.optim import AdamW, Optimizer

from atc.values import Count, NotNegative, Positive, Share, Whole

# A parameter does not decay where its name contains one of these: so batch norms of the convolutional pyramid do, and
# the injectors' gammas.
SPARED = ("level_embed", "pos_embed", "norm", "bias")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: what decays, and what does not; see `SPARED`. All learn at one rate.

    Args:
        model: the detector.
        weight_decay: of the first group.
    """
    decaying: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (spared if any(part in name for part in SPARED) else decaying).append(parameter)
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class StepsAfterEpochs:
    """A rate that rises linearly over the first updates, and falls by a factor after some of the epochs.

    It has the methods that the schedules of timm have, as far as tasks call them.

    Args:
        optimizer: whose rates are set.
        lr: the highest rate.
        updates_per_epoch: of the training.
        milestones: epochs after which the rate falls, counted from 1.
        gamma: what it is multiplied by.
        warmup: iterations in which it rises.
        warmup_factor: the share of the rate that it rises from.
        iterations_per_update: 1, or batches behind an update where iterations are batches.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr: float,
        updates_per_epoch: int,
        milestones: Sequence[int],
        gamma: float,
        warmup: int,
        warmup_factor: float,
        iterations_per_update: int = 1,
    ):
        self.optimizer, self.lr, self.updates_per_epoch = optimizer, lr, updates_per_epoch
        self.milestones, self.gamma = tuple(milestones), gamma
        self.warmup, self.warmup_factor = warmup, warmup_factor
        self.iterations_per_update = iterations_per_update
        self.step_update(0)

    def rate(self, update: int) -> float:
        """The rate of an update, counted from 0."""
        epoch = update // self.updates_per_epoch
        rate = self.lr * self.gamma ** sum(epoch >= milestone for milestone in self.milestones)
        # The last of the batches behind the update, where these are counted.
        iteration = (update + 1) * self.iterations_per_update - 1
        if iteration < self.warmup:
            rate *= 1 - (1 - iteration / self.warmup) * (1 - self.warmup_factor)
        return rate

    def step_update(self, num_updates: int) -> None:
        """Set the rate for update number `num_updates`, counted from 0."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(num_updates)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the rate follows from the number of the update."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


def configure(
    model: nn.Module,
    total_steps: int,
    epochs: int,
    batch: int = 0,
    *,
    lr: NotNegative,
    weight_decay: NotNegative,
    milestones: Sequence[Count] = (),
    gamma: Positive = 0.1,
    warmup_updates: Whole = 500,
    warmup_factor: Share = 0.001,
    lr_batch_normalizer: Positive | None = None,
    accumulate: Count = 1,
    as_released: bool = False,
    betas: tuple[Annotated[float, "[0, 1)"], Annotated[float, "[0, 1)"]] = (0.9, 0.999),
) -> dict[str, Any]:
    """What `LightningModule.configure_optimizers` returns for a detector, trained for total_steps updates.

    Args:
        model: the detector.
        total_steps: updates of the whole training.
        epochs: of the whole training.
        batch: images behind one update, of all devices.
        lr: the highest rate, the same for all parameters.
        weight_decay: see `parameter_groups`.
        milestones: epochs after which the rate falls.
        gamma: what it is multiplied by then.
        warmup_updates: updates in which it rises.
        warmup_factor: the share of the rate that it rises from.
        lr_batch_normalizer: lr is for this many images per update, and grows with `batch`; None: lr as it is.
        accumulate: batches behind one update.
        as_released: the warm-up counts batches, not updates, as the authors' code does.
        betas: of AdamW.

    Raises:
        ValueError: milestones that do not ascend, or lie behind the end.
    """
    steps = list(milestones)
    if steps != sorted(set(steps)) or any(milestone >= epochs for milestone in steps):
        raise ValueError(
            f"optimizer.milestones={steps} must be epochs that ascend and lie before the last of "
            f"trainer.max_epochs={epochs}"
        )
    rate = scaled_rate(lr, lr_batch_normalizer, batch)
    optimizer = AdamW(parameter_groups(model, weight_decay), lr=rate, betas=(betas[0], betas[1]))
    scheduler = StepsAfterEpochs(
        optimizer,
        rate,
        max(1, round(total_steps / epochs)),
        steps,
        gamma,
        warmup_updates,
        warmup_factor,
        accumulate if as_released else 1,
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def scaled_rate(lr: float, normalizer: float | None, batch: int) -> float:
    """The rate for `batch` images an update, where `lr` is for `normalizer` images; None: lr as it is."""
    if normalizer is None:
        return lr
    if batch < 1:
        raise ValueError(f"optimizer.lr_batch_normalizer={normalizer}: the data module has no batch_size")
    return lr * batch / normalizer


def rate_notice(settings: dict[str, Any], batch: int) -> str | None:
    """For a record, that the rate was scaled with the batch; None where it is as published.

    Args:
        settings: of `configure`.
        batch: images behind one update, of all devices.
    """
    lr, normalizer = settings.get("lr"), settings.get("lr_batch_normalizer")
    if lr is None or normalizer is None or batch == normalizer:
        return None
    rate = scaled_rate(lr, normalizer, batch)
    return f"optimizer.lr={lr:g} is for {normalizer:g} images an update: with {batch} of them it is {rate:g}"

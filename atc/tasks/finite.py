"""A training whose numbers are no longer finite stops, and leaves the checkpoints of before as they are."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from atc.core import Reducer


class NotFinite(ValueError):
    """A loss, a score or a weight is NaN or infinite."""

    in_all_processes = True  # of a run, with the same message


def causes(model: nn.Module) -> str:
    """What may be wrong where a model's outputs are not finite, in words."""
    weights, precision = "the weights have diverged", "the precision is too low for them (trainer.precision)"
    if (hint := plans_to_blame(model)) is None:
        return f"{weights}, or {precision}"
    return f"{weights}, {precision}, or {hint}"


def plans_to_blame(model: nn.Module) -> str | None:
    """How to find out whether the plans of a model's reducers are to blame; None where nothing reduces."""
    method = next((type(module).__name__ for module in model.modules() if isinstance(module, Reducer)), None)
    return None if method is None else f"a plan of {method} is wrong, which ATC_CHECK_PLANS=1 in the environment shows"


class StopNotFinite(Callback):
    """Ends a training whose loss, validation or weights are not finite, and keeps them out of checkpoints.

    The loss is noted on its device and looked at where it is logged anyway: every log_every_n_steps, and before each
    validation and each checkpoint. All processes end together. Gradients may be infinite: 16-bit training skips such
    updates, and goes on.
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None  # the update at which the loss was first not finite, -1 for none
        self._last: Tensor | None = None  # the last finite loss before

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The number that loggers have for this update."""
        self._update = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss, without waiting for the device; look at it where it is logged."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            self._note(loss.detach().float().mean())
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # not in Lightning's types
        if every and trainer.global_step % every == 0:
            self._look(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What has diverged need not be validated."""
        if not trainer.sanity_checking:
            self._look(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """NaN is never the best score."""
        for callback in trainer.checkpoint_callbacks:
            monitor = callback.monitor if isinstance(callback, ModelCheckpoint) else None
            value = trainer.callback_metrics.get(monitor or "")
            if value is not None and not trainer.sanity_checking and not math.isfinite(value):
                raise NotFinite(
                    f"{monitor}, by which the best epoch is chosen, is {float(value)} after "
                    f"{_epochs(trainer.current_epoch + 1)}"
                )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the epoch's checkpoints."""
        self._look(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Nothing that is not finite takes the place of a checkpoint that is."""
        self.before_saving(trainer, pl_module)

    def before_saving(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a checkpoint of a training that has diverged; to be called by all processes.

        Raises:
            NotFinite: the loss or a weight that is trained is not finite.
        """
        self._look(trainer)
        if _any(trainer, ~_finite(pl_module)):
            raise NotFinite(
                f"the weights are no longer finite after {trainer.global_step:,} updates, though the loss was; "
                f"{_advice(trainer)}"
            )

    def _note(self, loss: Tensor) -> None:
        if self._first is None or self._last is None:
            self._first = torch.full_like(loss, -1, dtype=torch.int64)
            self._last = torch.full_like(loss, math.nan)
        good = loss.isfinite() & (self._first < 0)
        self._last = torch.where(good, loss, self._last)
        self._first = torch.where(good | (self._first >= 0), self._first, self._update)

    def _look(self, trainer: Trainer) -> None:
        """Wait for the device; NotFinite if the loss of any process was not finite."""
        if self._first is None or self._last is None or not _any(trainer, self._first >= 0):
            return
        found = [(int(self._first), float(self._last))]
        if trainer.world_size > 1:
            found *= trainer.world_size
            dist.all_gather_object(found, (int(self._first), float(self._last)))
        step, loss = min(one for one in found if one[0] >= 0)
        before = "" if math.isnan(loss) else f"; the last finite loss was {loss:.4g}"
        raise NotFinite(f"the loss is not finite at step {step:,}{before}; {_advice(trainer)}")


def _finite(module: LightningModule) -> Tensor:
    """Whether all that is trained is finite, or this process' share of it; a bool on the device."""
    trained = [parameter.detach() for parameter in module.parameters() if parameter.requires_grad]
    shares = [value.to_local() if hasattr(value, "to_local") else value for value in trained]
    found = [share.isfinite().all() for share in shares if share.numel()]
    return torch.stack(found).all() if found else torch.ones((), dtype=torch.bool, device=module.device)


def _any(trainer: Trainer, flag: Tensor) -> bool:
    """Whether `flag` is set in any process."""
    if trainer.world_size == 1:
        return bool(flag)
    found = trainer.strategy.reduce(flag.float().to(trainer.strategy.root_device), reduce_op="sum")
    return bool(torch.as_tensor(found) > 0)


def _advice(trainer: Trainer) -> str:
    half = str(trainer.precision).startswith("16")
    also = ", or trainer.precision=bf16-mixed" if half else ""
    hint = plans_to_blame(trainer.lightning_module)
    plans = "" if hint is None else f"; or {hint}"
    return f"checkpoints of before are kept; a lower optimizer.lr or trainer.gradient_clip_val=1 may help{also}{plans}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' * (count != 1)}"

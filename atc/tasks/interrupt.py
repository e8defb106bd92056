"""Signals while training: stop where nothing is half done, and leave a checkpoint to resume from."""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments import SLURMEnvironment

from atc import signals
from atc.signals import Interrupted, raise_interrupted
from atc.values import NotNegative

__all__ = ["Interrupted", "StopSafely", "arrange", "raise_interrupted"]


class StopSafely(Callback):
    """While training, a signal waits for the end of the current update; then the state is saved and the run ends.

    A second signal stops at once, without it.

    Args:
        path: the checkpoint to write, which is also what a ModelCheckpoint writes at the end of every epoch.
        minutes: within an epoch the state is saved this often as well, for what ends a run without a signal; None:
            never.
    """

    signals = signals.SIGNALS

    def __init__(self, path: str, minutes: NotNegative | None = None):
        if minutes is not None and minutes < 0:
            raise ValueError(f"callbacks.stop_safely.minutes={minutes} is negative")
        self.path, self.minutes = Path(path), minutes
        self._saved = time.monotonic()
        self.received = 0
        # As they are now: when training starts, Lightning has put its own handler before the one there was.
        self.taken = tuple(number for number in self.signals if signals.is_free(number))
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over, as far as this is the main thread."""
        self._saved = time.monotonic()
        for number in self.taken:
            try:
                self._previous[number] = signal.signal(number, self._receive)
            except ValueError:  # only the main thread can, and only there signals arrive
                return

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if signals.is_child():
            signals.bide(number)
            return
        if self.received:
            raise Interrupted(number)
        self.received = number
        signals.expect_dead_workers()

    def _asked_to(self, trainer: Trainer) -> tuple[bool, bool]:
        """Whether to stop, and whether to save."""
        due = self.minutes is not None and time.monotonic() - self._saved >= 60 * self.minutes
        wanted = torch.tensor([bool(self.received), due], dtype=torch.float32)
        if trainer.world_size > 1:
            # All processes have to do it at the same batch: the checkpoint is written by all of them.
            reduced = trainer.strategy.reduce(wanted.to(trainer.strategy.root_device), reduce_op="sum")
            wanted = torch.as_tensor(reduced)
        stop, save = (wanted > 0).tolist()
        return stop, save

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Between two updates of an epoch: gradients that are being accumulated are in no checkpoint."""
        batches = trainer.fit_loop.epoch_loop.batch_progress
        if batches.is_last_batch or batches.current.ready % trainer.accumulate_grad_batches:
            return
        stop, save = self._asked_to(trainer)
        if stop or save:
            trainer.save_checkpoint(self.path)
            self._saved = time.monotonic()
        if stop:
            raise Interrupted(self.received or signal.SIGTERM)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Between two epochs: what there is to save was saved at the end of the last one."""
        if self._asked_to(trainer)[0]:
            raise Interrupted(self.received or signal.SIGTERM)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the signals back; a signal during the last epoch still ends the run."""
        self._restore()
        if self._asked_to(trainer)[0]:
            raise Interrupted(self.received or signal.SIGTERM)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Hand the signals back."""
        self._restore()


def behind(error: BaseException, trainer: Trainer) -> BaseException:
    """What ended a run: the signal, where the same signal has ended a loader worker as well; else the error."""
    if not signals.is_of_a_worker(error):
        return error
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # not in Lightning's types
        if isinstance(callback, StopSafely) and callback.received:
            return Interrupted(callback.received)
    earlier = error.__context__
    while earlier is not None and not isinstance(earlier, Interrupted):
        earlier = earlier.__context__
    return earlier or error


def arrange(trainer: Trainer) -> None:
    """Share the signals with Lightning, before it runs anything.

    The one by which SLURM has a job started again is Lightning's where it does that; processes that it starts for
    other devices are sent what ends this one.
    """
    signals.pass_on(trainer.strategy.launcher)
    # Not public: without it, what Lightning would find.
    connector = getattr(trainer, "_accelerator_connector", None)
    cluster = getattr(connector, "cluster_environment", None)
    if cluster is None and SLURMEnvironment.detect():
        cluster = SLURMEnvironment()
    if not isinstance(cluster, SLURMEnvironment) or not cluster.auto_requeue or cluster.requeue_signal is None:
        return
    number = cluster.requeue_signal
    if signal.getsignal(number) is raise_interrupted:  # Lightning leaves a signal alone that has a handler
        signal.signal(number, signal.SIG_DFL)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # not in Lightning's types
        if isinstance(callback, StopSafely):
            callback.taken = tuple(taken for taken in callback.taken if taken != number)

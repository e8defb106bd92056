"""Ctrl-C and SIGTERM: stop where nothing is half done, and leave a checkpoint to resume from."""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class Interrupted(BaseException):
    """Raised in place of a signal; not an Exception, so that nothing takes it for an error and carries on."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def raise_interrupted(number: int, frame: FrameType | None) -> None:
    """The handler outside of training: stop at once."""
    raise Interrupted(number)


class StopSafely(Callback):
    """While training, a signal waits for the end of the current update; then the state is saved and the run ends.

    path: the checkpoint to write, which is also what a ModelCheckpoint writes at the end of every epoch. A second
    signal stops at once, without it.
    minutes: within an epoch the state is saved this often as well, for what ends a run without a signal; None: never.
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, path: str, minutes: float | None = None):
        if minutes is not None and minutes < 0:
            raise ValueError(f"callbacks.stop_safely.minutes={minutes} is negative")
        self.path, self.minutes = Path(path), minutes
        self._saved = time.monotonic()
        self.received = 0
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over, as far as this is the main thread."""
        self._saved = time.monotonic()
        for number in self.signals:
            try:
                self._previous[number] = signal.signal(number, self._receive)
            except ValueError:  # only the main thread can, and only there signals arrive
                return

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise Interrupted(number)
        self.received = number

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

"""Random numbers that a resumed run draws as an unbroken one would."""

import random
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from atc.values import Seed


class Reproducible(Callback):
    """Makes everything random in training a function of the seed, the rank and the number of the batch.

    Nothing has to be saved for that: after any interruption, batch n draws what it would have drawn. (In loader
    workers datamodules.io.loaders.SeededBatches does the same.)

    Args:
        seed: of the run.
    """

    def __init__(self, seed: Seed):
        self.seed = seed

    def _reseed(self, trainer: Trainer) -> None:
        batch = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        numbers = np.random.SeedSequence([self.seed, trainer.global_rank, batch]).generate_state(3)
        torch.manual_seed(int(numbers[0]))
        np.random.seed(numbers[1])  # noqa: NPY002 - timm's Mixup draws from the global state
        random.seed(int(numbers[2]))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first batch, of a new or a resumed run."""
        self._reseed(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Before the next batch is made."""
        self._reseed(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Whatever the validation drew is forgotten."""
        if not trainer.sanity_checking and trainer.training:
            self._reseed(trainer)

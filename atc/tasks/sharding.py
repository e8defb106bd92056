"""Strategies that take a model apart over devices."""

from lightning import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import FSDPStrategy


def shards(trainer: Trainer) -> bool:
    """Whether the trainer's strategy leaves each device a share of the weights, of every model it is given.

    ValueError for a callback that needs them whole.
    """
    found = isinstance(trainer.strategy, FSDPStrategy)
    # The callbacks are not in Lightning's types.
    if found and any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined]
        raise ValueError(
            "trainer.strategy=fsdp leaves no device the whole weights, of which callbacks.ema takes the average: "
            "callbacks=default does without, trainer.strategy=ddp with it"
        )
    return found

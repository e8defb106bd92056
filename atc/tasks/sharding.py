"""Strategies that take a model apart over devices."""

from lightning import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import FSDPStrategy


def check_launcher(trainer: Trainer) -> None:
    """Refuse strategies whose processes hand back nothing but weights: ddp_spawn, ddp_fork, ddp_notebook.

    Raises:
        ValueError: what they log, skip and select would be missing when the training has ended.
    """
    if any("MultiProcessingLauncher" in kind.__name__ for kind in type(trainer.strategy.launcher).__mro__):
        raise ValueError(
            "trainer.strategy: its processes keep to themselves what they log, so that a run would fail at its end: "
            "trainer.strategy=ddp starts them another way"
        )


def shards(trainer: Trainer) -> bool:
    """Whether the trainer's strategy leaves each device a share of the weights, of every model it is given.

    ValueError for a callback that needs them whole.
    """
    found = isinstance(trainer.strategy, FSDPStrategy)
    # The callbacks are not in Lightning's types.
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Lightning's, not declared
    if found and any(isinstance(callback, WeightAveraging) for callback in callbacks):
        raise ValueError(
            "trainer.strategy=fsdp leaves no device the whole weights, of which callbacks.ema takes the average: "
            "callbacks=default does without, trainer.strategy=ddp with it"
        )
    return found

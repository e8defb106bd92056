"""Whether the state of a training fits what is to go on with it, before anything is written."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.optim import Optimizer

from atc.received import shown
from atc.tasks.moved import PATHS
from atc.weights import released


class Begin(Callback):
    """Calls `begin` when a batch has gone through the model with the state that a training goes on from, not before.

    Until then what does not fit, such as another size of images, is refused and leaves the run as it was.

    Args:
        begin: without arguments.
    """

    def __init__(self, begin: Callable[[], None]):
        self.begin = begin

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """All is read, and there is a loss."""
        self.begin()


def check(file: Path, task: LightningModule, trainer: Trainer, optimizer: Optimizer | None) -> None:
    """Refuse a state that a training cannot go on from.

    Args:
        file: the checkpoint; a directory, as a strategy that shards leaves, is not looked at.
        task: what will be trained.
        trainer: what will train it.
        optimizer: one as it will be made; None for none.

    Raises:
        ValueError: weights, optimizer or files do not fit; one line.
        MisconfigurationException: the training is longer than it shall become.
    """
    if not file.is_file():
        return
    state = released.read(file, mmap=True)
    if not isinstance(state, Mapping) or not isinstance(state.get("state_dict"), Mapping) or "loops" not in state:
        raise ValueError(
            f"resume={file} is no state of a training to resume; to start from the weights, set "
            f"backbone.checkpoint={file}"
        )
    for path in _files(state.get("callbacks")):
        if ".." in PurePath(path).parts:
            raise ValueError(f"resume={file}: it names a checkpoint outside of a run's directory, {shown(path)}")
    _check_weights(file, state["state_dict"], task.state_dict())
    if optimizer is not None:
        _check_optimizer(file, state.get("optimizer_states"), optimizer)
    progress = state["loops"]
    for key in ("fit_loop", "epoch_progress", "current", "processed"):  # "completed" lags behind in a checkpoint
        progress = progress.get(key) if isinstance(progress, Mapping) else None
    epochs = trainer.max_epochs
    if isinstance(progress, int) and epochs is not None and epochs != -1 and progress > epochs:
        raise MisconfigurationException(
            f"You restored a checkpoint with current_epoch={progress}, but you have set Trainer(max_epochs={epochs})."
        )


def _files(callbacks: Any) -> Iterator[str]:
    """The paths that the states of callbacks name: Lightning deletes some of these files."""
    for state in callbacks.values() if isinstance(callbacks, Mapping) else ():
        if isinstance(state, Mapping):
            best = state.get("best_k_models")
            named = [state.get(key) for key in PATHS] + list(best if isinstance(best, Mapping) else ())
            yield from (str(path) for path in named if path)


def _check_weights(file: Path, saved: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    missing, extra = sorted(own.keys() - saved.keys()), sorted(saved.keys() - own.keys())
    other = [key for key in own if key in saved and getattr(saved[key], "shape", None) != own[key].shape]
    for problem, keys in (("lacks", missing), ("has besides", extra), ("has other shapes for", other)):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise ValueError(
                f"resume={file} does not fit the model: it {problem} {', '.join(map(shown, keys[:3]))}{more}; a "
                f"training goes on with the backbone and reducer it was begun with, or starts from its weights: "
                f"backbone.checkpoint={file}"
            )


def _check_optimizer(file: Path, saved: Any, optimizer: Optimizer) -> None:
    groups = saved[0].get("param_groups") if isinstance(saved, list) and saved and isinstance(saved[0], dict) else None
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise ValueError(f"resume={file} holds no state of an optimizer, which a training goes on with")
    name = type(optimizer).__name__
    advice = f"resume with the optimizer it was begun with, or start from its weights: backbone.checkpoint={file}"
    sizes = [[len(group.get("params", ())) for group in of] for of in (groups, optimizer.param_groups)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"resume={file}: its optimizer has {len(sizes[0])} groups of {sizes[0]} parameters, this one, {name}, "
            f"{len(sizes[1])} of {sizes[1]}; {advice}"
        )
    for before, now in zip(groups, optimizer.param_groups, strict=True):
        # Versions of one optimizer may have settings the others lack; only two kinds lack some of each other's.
        unknown, lacking = sorted(before.keys() - now.keys() - {"initial_lr"}), sorted(now.keys() - before.keys())
        if unknown and lacking:
            raise ValueError(
                f"resume={file} holds the state of another optimizer than {name}: it has "
                f"{', '.join(map(shown, unknown))} and lacks {', '.join(lacking)}; {advice}"
            )

"""Checkpoints of a run that has moved: paths in them are those of where it was."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from atc.files import whole_file

log = logging.getLogger(__name__)

PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
COMPOSED = "composed.yaml"  # which lies at the top of a run directory


class FollowsItsRun(Callback):
    """Reads what a checkpoint says of other checkpoints, such as the best one, as said of where they lie now.

    Files that are not there any more, or damaged, are forgotten, so that the best epoch is chosen among those that are
    left. A run that goes on in another directory takes a copy of the others along.

    Args:
        directory: that of the run, which ModelCheckpoint callbacks write to or below.
        readable: whether a checkpoint is whole.
    """

    def __init__(self, directory: Path, readable: Callable[[Path], bool] = Path.is_file):
        self.directory, self.readable = directory, readable

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Before the callbacks get their states."""
        states, loaded = checkpoint.get("callbacks"), trainer.ckpt_path
        if not isinstance(states, dict) or loaded is None or "://" in str(loaded):
            return
        found = [
            (callback, states[callback.state_key])
            for callback in trainer.callbacks  # type: ignore[attr-defined]  # not in Lightning's types
            if isinstance(callback, ModelCheckpoint) and isinstance(states.get(callback.state_key), dict)
        ]
        here, now = _run_of(Path(loaded)), Path(os.path.realpath(self.directory))
        before = next(filter(None, (_run_before(callback, state, now) for callback, state in found)), None)
        if before is not None:
            for callback, state in found:
                self._follow(callback, state, before, here, now)

    def _follow(self, callback: ModelCheckpoint, state: dict[str, Any], before: Path, here: Path, now: Path) -> None:
        """Change the state of a callback from a run at `before` to one at `here` that goes on at `now`."""

        def moved(path: Any, copied: bool = True) -> str:
            """Where a file is now; "" for none, or one that is not this run's or cannot be read."""
            if not isinstance(path, str) or not path or not Path(path).is_relative_to(before):
                return ""
            inside = Path(path).relative_to(before)
            if copied and not self.readable(here / inside):
                return ""
            if copied and here != now and _first_process():
                with (here / inside).open("rb") as source, whole_file(now / inside) as copy:
                    shutil.copyfileobj(source, copy)
            return str(now / inside)

        state["dirpath"] = moved(state.get("dirpath"), copied=False)
        scores = state.get("best_k_models")
        scores = scores if isinstance(scores, dict) else {}
        named = {path for path in (*scores, *(state.get(key) for key in PATHS)) if path}
        places = {path: moved(path) for path in named}
        for key in PATHS:
            state[key] = places.get(state.get(key), "")
        kept = {places[path]: score for path, score in scores.items() if places[path]}
        state["best_k_models"] = kept
        gone = sorted(str(here / Path(path).name) for path, place in places.items() if not place)
        if not gone:
            return
        if _first_process() and callback.monitor is not None:
            log.warning("%s is not there any more, or damaged: the best epoch is chosen among others", ", ".join(gone))
        if callback.monitor is None:
            return
        better, worse = (max, min) if callback.mode == "max" else (min, max)
        state["best_model_path"] = better(kept, key=lambda path: float(kept[path])) if kept else ""
        state["best_model_score"] = kept[state["best_model_path"]] if kept else None
        state["kth_best_model_path"] = worse(kept, key=lambda path: float(kept[path])) if kept else ""
        state["kth_value"] = kept[state["kth_best_model_path"]] if kept else callback.kth_value


def _run_of(checkpoint: Path) -> Path:
    """The run directory that a checkpoint lies in, else its folder."""
    file = Path(os.path.realpath(checkpoint))
    return next((folder for folder in file.parents if (folder / COMPOSED).is_file()), file.parent)


def _run_before(callback: ModelCheckpoint, state: dict[str, Any], now: Path) -> Path | None:
    """Where the run was, from where a callback wrote to then and writes to now."""
    then, there = state.get("dirpath"), callback.dirpath
    if not isinstance(then, str) or not there or not Path(there).is_relative_to(now):
        return None
    below = Path(there).relative_to(now).parts
    parts = Path(then).parts
    if below and parts[-len(below) :] != below:
        return None
    return Path(*parts[: len(parts) - len(below)])


def _first_process() -> bool:
    return bool(rank_zero_only.rank == 0)  # type: ignore[attr-defined]  # Lightning's, set on a function

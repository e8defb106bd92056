"""Checkpoints of a run that has moved: paths in them are those of where it was."""

import logging
import os
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

log = logging.getLogger(__name__)

COMPOSED = "composed.yaml"  # which lies at the top of a run directory


class FollowsItsRun(Callback):
    """Reads what a checkpoint says of other checkpoints, such as the best one, as said of where they lie now.

    directory: that of the run, which ModelCheckpoint callbacks write to or below.

    Files that are not there any more are forgotten, so that the best epoch is chosen among those that are left.
    """

    def __init__(self, directory: Path):
        self.directory = directory

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
                _follow(callback, state, before, here, now)


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


def _follow(callback: ModelCheckpoint, state: dict[str, Any], before: Path, here: Path, now: Path) -> None:
    """Change the state of a callback from a run at `before` to one at `here` that goes on at `now`."""

    def moved(path: Any, to: Path = here) -> Any:
        inside = isinstance(path, str) and path and Path(path).is_relative_to(before)
        return str(to / Path(path).relative_to(before)) if inside else path

    state["dirpath"] = moved(state.get("dirpath"), now)
    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[key] = moved(state.get(key))
    scores = state.get("best_k_models")
    known = {moved(path): score for path, score in scores.items()} if isinstance(scores, dict) else {}
    state["best_k_models"] = kept = {path: score for path, score in known.items() if os.path.isfile(path)}
    best = state["best_model_path"]
    if len(kept) == len(known) and (not best or os.path.exists(best)):
        return
    gone = sorted({*known, *([best] if best else [])} - kept.keys())
    if rank_zero_only.rank == 0 and callback.monitor is not None:
        log.warning("%s is not there any more: the best epoch is chosen among the others", ", ".join(gone))
    better, worse = (max, min) if callback.mode == "max" else (min, max)
    state["best_model_path"] = better(kept, key=lambda path: float(kept[path])) if kept else ""
    state["best_model_score"] = kept[state["best_model_path"]] if kept else None
    state["kth_best_model_path"] = worse(kept, key=lambda path: float(kept[path])) if kept else ""
    state["kth_value"] = kept[state["kth_best_model_path"]] if kept else callback.kth_value

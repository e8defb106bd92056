"""Checkpoints that are there whole or not at all."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins import TorchCheckpointIO


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside the one it replaces, and renames it when all of it is on the disk.

    Whatever ends a process, be it SIGKILL or the loss of power, the file of that name is the new checkpoint or the
    one before. (Lightning's own goes through the folder for temporary files: where that is on another disk, what
    ends it is a copy, which can be cut.)
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write `checkpoint` to `path`; one that is cut leaves PATH.partial, which the next one replaces."""
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        whole = Path(path)
        whole.parent.mkdir(parents=True, exist_ok=True)
        partial = whole.with_name(f"{whole.name}.partial")
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(whole)


def write_whole_files(trainer: Trainer) -> None:
    """Have `trainer` write checkpoints this way, unless it was given a way of the user's own."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeFiles()

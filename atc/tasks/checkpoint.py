"""Checkpoints that are there whole or not at all."""

import os
from typing import IO, Any

import torch
from lightning import Trainer
from lightning.fabric.plugins import TorchCheckpointIO

from atc.files import whole_file


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside the one it replaces, and renames it when all of it is on the disk.

    Whatever ends a process, be it SIGKILL or the loss of power, the file of that name is the new checkpoint or the
    one before. (Lightning's own goes through the folder for temporary files: where that is on another disk, what
    ends it is a copy, which can be cut.)
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write `checkpoint` to `path`; OSError names it, also where the disk is full."""
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, os.fspath(path), storage_options)
            return
        with whole_file(path) as file:
            remembering: Any = _Remembering(file)  # has what PyTorch's writer calls, not all of an IO[bytes]
            try:
                torch.save(checkpoint, remembering)
            except RuntimeError as error:
                # PyTorch's writer turns what the disk said into "unexpected pos 64 vs 0".
                raise remembering.error or error from error


class _Remembering:
    """A file to write to that keeps the first error of writing."""

    def __init__(self, file: IO[bytes]):
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self.file.flush()


def write_whole_files(trainer: Trainer) -> None:
    """Have `trainer` write checkpoints this way, unless it was given a way of the user's own."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeFiles()

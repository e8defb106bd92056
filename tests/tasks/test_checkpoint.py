"""A checkpoint is whole, whenever the process that writes it ends."""

import os
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from atc.tasks.checkpoint import WholeFiles


def write_and_die(path: Path) -> None:
    """Writes half of a checkpoint, and is killed."""

    def half(checkpoint: Any, file: Any) -> None:
        file.write(b"half of a checkpoint")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half
    WholeFiles().save_checkpoint({"step": 2}, path)


def test_killed_while_writing(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "last.ckpt"
    files = WholeFiles()
    files.save_checkpoint({"step": 1}, path)
    process = get_context("fork").Process(target=write_and_die, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert {file.name for file in path.parent.iterdir()} == {"last.ckpt", "last.ckpt.partial"}
    assert files.load_checkpoint(path, weights_only=True) == {"step": 1}
    files.save_checkpoint({"step": 3}, path)
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    assert files.load_checkpoint(path, weights_only=True) == {"step": 3}

"""A checkpoint is whole, whenever the process that writes it ends."""

import os
import re
import resource
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from atc.files import remove_partial
from atc.tasks.checkpoint import WholeFiles
from tests.processes import in_a_process


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
    assert len(list(path.parent.iterdir())) == 2  # half of one beside it, under a name that nobody else writes to
    assert files.load_checkpoint(path, weights_only=True) == {"step": 1}
    files.save_checkpoint({"step": 3}, path)
    assert files.load_checkpoint(path, weights_only=True) == {"step": 3}
    remove_partial(path.parent)  # as a run does that goes on there
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", [torch.zeros(2_000_000), [torch.zeros(9_000) for _ in range(40)]], ids=["large", "many"]
)
def test_a_full_disk_is_said_with_the_file(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint({"step": 1}, path)
    with pytest.raises(OSError, match=re.escape(f"[Errno 27] File too large: '{path}'")):
        in_a_process(write_too_much, path, content)
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
    assert WholeFiles().load_checkpoint(path, weights_only=True) == {"step": 1}


def write_too_much(path: Path, content: Any) -> None:
    """No file may be longer than 100 kB, which stops a write as a full disk does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    WholeFiles().save_checkpoint({"weights": content}, path)

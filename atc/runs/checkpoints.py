"""The checkpoint a training goes on from: the newest that can be read."""

import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atc.runs import lock
from atc.runs.directories import BEST, LAST, file_of
from atc.weights import unreadable

log = logging.getLogger(__name__)

# What Lightning writes of a training, beside callbacks and versions.
PARTS = {"state_dict", "optimizer_states", "loops", "global_step"}


def training_state(resume: str | Path | None, directory: Path) -> Path | None:
    """The checkpoint that a training goes on from, None for none.

    In a directory that is last.ckpt, else, where that is damaged or missing, the one of the others with most updates
    behind it; a warning says which.

    Args:
        resume: "auto", for what this run has left in its `directory`, if it has; or a run directory, or a file in one.
        directory: the run directory.

    Returns:
        A file that can be read; None for None, and for "auto" where there is none.

    Raises:
        FileNotFoundError: `resume` is not there.
        ValueError: it is no state of a training, or damaged; the message names it.
    """
    if resume is None:
        return None
    given = directory if resume == "auto" else Path(resume).expanduser()
    if resume != "auto" and not given.is_dir():
        return _single(file_of(resume, LAST, "resume"))
    newest, bad = _newest(given)
    if newest is None:
        what = "; ".join(f"{name} {reason}" for name, reason in bad.items())
        if resume != "auto":
            file_of(resume, LAST, "resume")  # says so where there is none
            raise ValueError(f"resume={resume}: the directory holds no state of a training that can be read: {what}")
        if bad and lock.is_first():
            log.warning("%s holds nothing to go on from: %s; the training starts from the beginning", given, what)
    elif bad and lock.is_first():
        name, reason = next(iter(bad.items()))
        log.warning("%s %s; going on from %s, after %d updates", given / name, reason, newest.name, updates(newest))
    return newest


def updates(checkpoint: Path) -> int | None:
    """How many updates lie behind a state of a training; None if the file is not there or cannot be read."""
    if not checkpoint.is_file():
        return None
    try:
        return _updates(checkpoint)
    except ValueError:
        return None


def readable(checkpoint: Path) -> bool:
    """Whether a checkpoint is whole; one that a strategy that shards leaves, a directory, is not looked at."""
    return checkpoint.is_dir() or updates(checkpoint) is not None


def _single(file: Path) -> Path:
    if file.suffix not in (".ckpt", ".safetensors"):
        try:
            _state(file)
        except ValueError as error:
            raise ValueError(f"resume={file} {error}") from error
    if file.suffix != ".ckpt":
        raise ValueError(
            f"resume={file} holds weights, not the state of a training to resume; to start from the weights, "
            f"set backbone.checkpoint={file}"
        )
    try:
        _updates(file)
    except ValueError as error:
        raise ValueError(f"resume={file} {error}{instead_of(file)}") from error
    return file


def instead_of(damaged: Path) -> str:
    """The end of a message about a checkpoint that cannot be read: which one beside it can, if there is one."""
    other, _ = _newest(damaged.parent)
    return f"; {other} can be read" if other is not None else ""


def _newest(directory: Path) -> tuple[Path | None, dict[str, str]]:
    """The checkpoint to go on from, if there is one, and what is wrong with those that were looked at before it."""
    bad: dict[str, str] = {}
    last = directory / LAST
    files = [file for file in directory.glob("*.ckpt") if file.is_file()]
    if last in files:
        try:
            _updates(last)
            return last, {}
        except ValueError as error:
            bad[LAST] = str(error)
            files.remove(last)
    readable: dict[Path, int] = {}
    for file in sorted(files, key=lambda file: (file.name != BEST, file.name)):
        try:
            readable[file] = _updates(file)
        except ValueError as error:
            bad[file.name] = str(error)
    if not readable:
        return None, bad
    newest = max(readable, key=lambda file: readable[file])
    return newest, bad or {LAST: "is missing"}


def _updates(file: Path) -> int:
    """How many updates lie behind a checkpoint. ValueError says what is wrong with it; all of it is read."""
    state = _state(file)
    if not state.keys() >= PARTS or not isinstance(state["global_step"], int):
        raise ValueError("holds weights, not the state of a training")
    return int(state["global_step"])


def _state(file: Path) -> Mapping[str, Any]:
    """What a file of PyTorch's holds; all of it is read. ValueError, without the file's name, says what is wrong."""
    import torch

    if reason := unreadable.reason(file):
        raise ValueError(reason)
    try:
        zipped = zipfile.is_zipfile(file)
        if zipped:
            with zipfile.ZipFile(file) as archive:
                if archive.testzip() is not None:  # tensors in the middle: PyTorch would take what it finds
                    raise ValueError("is damaged")
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except OSError:
        raise
    except Exception as error:  # unpickling what is no pickle raises anything
        raise ValueError("is damaged or no checkpoint") from error
    if not isinstance(state, dict):
        raise ValueError(f"holds no weights but a {type(state).__name__}")
    return state

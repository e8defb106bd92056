"""What a machine runs out of is told in one line that says what to lower."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from atc import faults
from atc.config.errors import one_line

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


class Doing(Dataset[int]):
    """Calls a function in the process that reads."""

    def __init__(self, what: Callable[[], object]):
        self.what = what

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        self.what()
        return index


def raised(call: Callable[[], Any], *kinds: type[BaseException]) -> BaseException:
    with pytest.raises(kinds or Exception) as found:
        call()
    return found.value


def read(what: Callable[[], object]) -> BaseException:
    """What comes of a function in a reading process."""
    return raised(lambda: list(DataLoader(Doing(what), num_workers=1)))


def no_memory() -> None:
    raise MemoryError


def no_file() -> None:
    raise PermissionError(errno.EACCES, "Permission denied", "/data/a.png")


@pytest.mark.slow
def test_a_machine_without_a_compiler(tmp_path: Path) -> None:
    command = [sys.executable, "evaluate.py", "reducer=topk", "keep_rate=0.5", "compile=true", f"paths.runs={tmp_path}"]
    environment = {**os.environ, "PATH": "", "CXX": "", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "kernels")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    said = "error: compile=true finds no C++ compiler: install g++ or clang++ (CXX=PATH names one), or leave it out"
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == said
    assert "Traceback" not in done.stderr


def test_a_reading_process_that_is_killed() -> None:
    said = faults.told(read(lambda: os.kill(os.getpid(), signal.SIGKILL)), "train")
    assert said is not None
    assert said.startswith("a process that reads images was killed")
    assert "lower datamodule.num_workers or datamodule.batch_size" in said
    assert "\n" not in said


def test_a_reading_process_without_memory() -> None:
    assert "the machine is out of memory: lower datamodule.num_workers" in str(faults.told(read(no_memory), "train"))


def test_what_a_reading_process_could_not_do_is_one_line() -> None:
    error = read(no_file)
    assert len(str(error).splitlines()) > 3
    assert one_line(error, "train") == "[Errno 13] Permission denied: '/data/a.png'"


@pytest.mark.parametrize(
    "call",
    [lambda: torch.empty(10**15), lambda: np.empty(10**16), lambda: bytearray(10**17)],
    ids=["torch", "np", "py"],
)
def test_a_real_lack_of_memory(call: Callable[[], Any]) -> None:
    said = str(one_line(raised(call), "evaluate"))
    assert said.startswith("the machine is out of memory")
    assert "datamodule.eval_batch_size" in said
    assert len(said.splitlines()) == 1


# As PyTorch and the system say it.
SAID = [
    (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has"),
        "(20.00 GiB more were asked",
    ),
    (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), "the device is out of memory: lower"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "the device is out of memory"),
    (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), "the device is out of memory"),
    (RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly"), "a process that reads images was killed"),
    (RuntimeError("DataLoader worker (pid 9) is killed by signal: Killed. "), "was killed (Killed)"),
    (
        RuntimeError(
            "DataLoader worker (pid 9) is killed by signal: Bus error. It is possible that dataloader's workers are "
            "out of shared memory. Please try to raise your shared memory limit."
        ),
        "shared memory (/dev/shm) is full: lower datamodule.num_workers",
    ),
    (RuntimeError("unable to write to file </torch_12_3>: No space left on device (28)"), "shared memory (/dev/shm)"),
    (RuntimeError("Pin memory thread exited unexpectedly"), "a process that reads images was killed"),
    (RuntimeError("received 0 items of ancdata"), "too many files are open"),
    (RuntimeError("Too many open files. Communication with the workers is no longer possible."), "ulimit -n"),
    (OSError(errno.EMFILE, "Too many open files", "/data/a.png"), "too many files are open"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "the machine is out of memory"),
    (RuntimeError("can't start new thread"), "too many processes or threads: lower"),
    (RuntimeError("[..pair.cc:553] Connection closed by peer [127.0.0.1]:3"), "another process of this run has ended"),
]


@pytest.mark.parametrize(("error", "says"), SAID, ids=[says[:30] for _, says in SAID])
def test_as_it_is_said(error: Exception, says: str) -> None:
    for raised_error in (error, _caused(error)):
        said = str(one_line(raised_error, "train"))
        assert says in said
        assert len(said.splitlines()) == 1


def _caused(error: Exception) -> RuntimeError:
    outer = RuntimeError("something else")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/runs/last.ckpt"),
        OSError(errno.ENOSPC, "No space left on device"),
        FileNotFoundError(errno.ENOENT, "No such file", "/dev/shm/data/val"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable", "/runs/.lock"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        ValueError("a picture named out of shared memory.png"),
    ],
    ids=str,
)
def test_other_errors_keep_their_words(error: Exception) -> None:
    assert faults.told(error, "train") is None
    assert one_line(error, "train") == str(error)


def test_a_bug_stays_a_bug() -> None:
    assert one_line(RuntimeError("shape mismatch"), "train") is None
    assert faults.told(KeyError("CUDA out of memory"), "train") is None


def test_the_setting_is_the_commands() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory.")
    assert "datamodule.batch_size" in str(faults.told(error, "train"))
    assert "activation_checkpointing=true" in str(faults.told(error, "train"))
    assert "datamodule.batch_size" not in str(faults.told(error, "evaluate"))
    assert "lower batch_size" in str(faults.told(error, "throughput"))

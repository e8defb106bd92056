"""The cuda backend's blocks on a CPU: ``emulate.cpp`` compiled, and called with the jobs that a GPU would get."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from atc.ops.linkage.cuda import binaries, launch, memory
from tests.ops.conftest import ROOT

COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", f"-I{binaries.FOLDER}", "-pthread"]


def compile_emulation(output: Path, *flags: str, source: str = "emulate.cpp") -> None:
    """A library, or with ``-DATC_PROGRAM`` a program; skips the test where that is not possible."""
    if COMPILER is None:
        pytest.skip("no C++ compiler to emulate a GPU with")
    command = [COMPILER, *FLAGS, *flags, str(ROOT / "tests/ops" / source), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and ("c++20" in done.stderr or "barrier" in done.stderr):
        pytest.skip("this compiler has no std::barrier")
    if done.returncode and "cannot find" in done.stderr and "san" in done.stderr:
        pytest.skip("this compiler has no such sanitizer library")
    assert done.returncode == 0, done.stderr


class Emulation:
    """Blocks of ``threads`` threads in warps of ``lanes``."""

    def __init__(self, library: Path, lanes: int, threads: int):
        compile_emulation(library, "-O1", "-fPIC", "-shared", f"-DATC_LANES={lanes}")
        self.library, self.threads = ctypes.CDLL(str(library)), threads
        self.library.shared_bytes.restype = ctypes.c_int64

    def cluster(self, distance, keep, method):
        """What ``launch.cluster`` does on a GPU."""
        job, result = launch.prepare(distance, keep, method, want_merges=True, want_counters=True)
        if distance.shape[1]:
            shared = memory.shared_bytes(distance.shape[1], method, distance.dtype)
            self.library.emulate(
                ctypes.byref(job),
                ctypes.c_int64(len(distance)),
                binaries.METHOD[method],
                int(distance.element_size() == 8),
                self.threads,
                ctypes.c_int64(shared),
            )
        return result

    def shared_bytes(self, tokens, width):
        return self.library.shared_bytes(ctypes.c_int64(tokens), ctypes.c_int64(width))


class GridEmulation:
    """Groups of ``blocks`` blocks of ``threads`` threads in warps of ``lanes``, in device memory."""

    def __init__(self, library: Path, lanes: int = 1, blocks: int = 1, threads: int = 1):
        compile_emulation(library, "-O2", "-fPIC", "-shared", f"-DATC_LANES={lanes}", source="emulate_grid.cpp")
        self.library, self.blocks, self.threads = ctypes.CDLL(str(library)), blocks, threads
        self.library.grid_bytes.restype = ctypes.c_int64

    def cluster(self, distance, keep, method, want_merges=True, groups=1):
        """What ``launch.cluster`` does on a GPU."""
        job, result = launch.prepare(distance, keep, method, want_merges=want_merges, want_counters=True)
        if distance.shape[1]:
            job.bytes = memory.grid_bytes(distance.shape[1], method, distance.dtype)
            scratch = torch.full((groups * job.bytes,), 0xA5, dtype=torch.uint8)
            job.memory, job.blocks = scratch.data_ptr(), self.blocks
            self.library.emulate_grid(
                ctypes.byref(job),
                ctypes.c_int64(groups),
                binaries.METHOD[method],
                int(distance.element_size() == 8),
                self.blocks,
                self.threads,
            )
        return result

    def grid_bytes(self, tokens, width):
        return self.library.grid_bytes(ctypes.c_int64(tokens), ctypes.c_int64(width))


def assert_equals(found, tree, keep, message):
    """Labels, merges and heights of a dendrogram's first merges, to the bit."""
    merges = max(tree.tokens - keep, 0)
    assert torch.equal(found.labels, tree.labels(keep)), message
    assert torch.equal(found.merges, tree.merges[:, :merges]), message
    torch.testing.assert_close(found.heights, tree.heights[:, :merges], rtol=0, atol=0, equal_nan=True, msg=message)

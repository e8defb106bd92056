"""The host's part of the cuda backend without a GPU: compiling for one, launching, and being chosen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from atc.ops.linkage import METHODS, cuda, dendrogram, dispatch, labels
from atc.ops.linkage.cuda import launch, program
from tests.ops.emulation import assert_equals, compile_emulation
from tests.reference.distances import batch, thirds

needs_nvrtc = pytest.mark.skipif(program.bindings() is None, reason="cuda-bindings or NVRTC are not installed")


@needs_nvrtc
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_compiles_for_hopper_without_spills(method, dtype):
    binary = program.compiled((9, 0), method, dtype)
    assert binary.image.startswith(b"\x7fELF")
    assert "Compiling entry function 'atc_linkage' for 'sm_90'" in binary.report
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in binary.report
    registers = int(re.search(r"Used (\d+) registers", binary.report)[1])
    assert registers * launch.THREADS_ALONE <= 65536  # all that a multiprocessor has
    assert "warning" not in binary.report


@needs_nvrtc
def test_compiles_for_older_and_for_younger_gpus():
    assert program.supports((9, 0))
    assert not program.supports((2, 0))
    for capability in ((7, 5), (8, 6)):  # before and after warps could find a minimum in one instruction
        assert "0 bytes spill stores" in program.compiled(capability, "average", torch.float32).report
    unknown = program.compiled((99, 0), "average", torch.float32).image
    assert b".entry atc_linkage" in unknown  # assembly language, for its driver to compile
    assert b"div.rn.f64" in unknown
    assert b"fma.rn.f64" not in unknown  # it would round otherwise than the oracle


def test_what_nvrtc_says_is_not_lost(monkeypatch, tmp_path):
    if program.bindings() is None:
        pytest.skip("cuda-bindings or NVRTC are not installed")
    (tmp_path / "kernel.cu").write_text("int main( {}")
    monkeypatch.setattr(program, "FOLDER", tmp_path)
    with pytest.raises(RuntimeError, match=r"could not compile the clustering kernel for sm_90: atc_linkage.cu\(1\)"):
        program.compiled.__wrapped__((9, 0), "average", torch.float32)


def launched():
    """What the test below runs in a process of its own, whose driver is an emulation: no line of it is a GPU's."""
    torch.cuda.init = lambda: None
    torch.cuda.get_device_capability = lambda device: (9, 0)
    torch.cuda.current_stream = lambda device: SimpleNamespace(cuda_stream=1)
    torch.Tensor.get_device = lambda tensor: 0
    program.compiled = lambda capability, method, dtype: program.Binary(
        bytes([program.METHOD[method], dtype == torch.float64]), ""
    )
    for method in METHODS:
        for distance in (batch(30), thirds(batch(30))):
            tree = dendrogram(distance, 1, method, backend="reference")
            for keep in (12, 40):
                found = launch.cluster(distance, keep, method, want_merges=True)
                assert_equals(found, tree, min(keep, 30), f"{method} {distance.dtype} keep={keep}")
                assert torch.equal(launch.cluster(distance.mT, keep, method).labels, tree.labels(keep))
        assert launch.cluster(distance[:0], 3, method).labels.shape == (0, 30)
        assert launch.cluster(distance[:, :0, :0], 3, method).labels.shape == (len(distance), 0)
    assert launch.most_tokens(program.shared_memory(0), "average", torch.float32) == 237
    with pytest.raises(RuntimeError, match="clustering on the GPU failed: CUDA_ERROR_INVALID_VALUE"):
        launch.cluster(torch.zeros(1, 300, 300), 3, "average")  # more shared memory than there is
    print("equal")


@needs_nvrtc
@pytest.mark.no_gpu
@pytest.mark.skipif(sys.platform != "linux", reason="emulates a driver of Linux")
def test_launches_through_the_driver_s_interface(tmp_path):
    compile_emulation(tmp_path / "libcuda.so.1", "-O1", "-fPIC", "-shared", source="driver.cpp")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "from tests.ops.test_linkage_cuda_host import launched; launched()"],
        cwd=root,
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "equal\n", done.stderr


def test_a_request_that_cannot_be_met_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="backend='cuda' needs a tensor on an NVIDIA GPU, got one on cpu"):
        labels(torch.zeros(1, 3, 3), 2, "average", backend="cuda")
    on_gpu = SimpleNamespace(
        device=torch.device("cuda", 0), shape=(2, 300, 300), dtype=torch.float32, get_device=lambda: 0
    )
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(program, "bindings", lambda: None)
    assert "needs the cuda-bindings package" in cuda.complaint(on_gpu, "average")
    monkeypatch.setattr(program, "bindings", lambda: ("nvrtc", "driver"))
    monkeypatch.setattr(program, "shared_memory", lambda device: 227 * 1024)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla C2050")
    monkeypatch.setattr(program, "supports", lambda capability: False)
    assert cuda.complaint(on_gpu, "complete") == "needs a GPU that NVRTC still compiles for, got Tesla C2050"
    monkeypatch.setattr(program, "supports", lambda capability: capability == (9, 0))
    assert cuda.complaint(on_gpu, "complete") is None
    with pytest.raises(ValueError, match="takes up to 237 tokens on this GPU for average linkage of float32, got 300"):
        dispatch.chosen_backend(on_gpu, "cuda", "average")


def test_the_choice_on_a_gpu_is_one_table(monkeypatch):
    """A measurement changes CUDA_UP_TO_TOKENS; until there is one, cuda runs on request only."""
    can_run = {"answer": None}
    monkeypatch.setattr(dispatch, "why_not_cuda", lambda distance, method: can_run["answer"])
    monkeypatch.setattr(dispatch, "has_triton", lambda: True)

    def choice(tokens, method):
        return dispatch.chosen_backend(
            SimpleNamespace(device=torch.device("cuda"), shape=(1, tokens, tokens)), None, method
        )

    assert {choice(tokens, method) for tokens in (0, 1, 196) for method in METHODS} == {"triton"}
    monkeypatch.setitem(dispatch.CUDA_UP_TO_TOKENS, "average", 196)
    assert [choice(tokens, "average") for tokens in (1, 196, 197, 5000)] == ["cuda", "cuda", "triton", "torch"]
    assert choice(196, "complete") == "triton"
    can_run["answer"] = "needs the cuda-bindings package"
    assert choice(196, "average") == "triton"
    monkeypatch.setattr(dispatch, "has_triton", lambda: False)
    assert choice(196, "average") == "torch"

"""The host's part of the cuda backend without a GPU: compiling for one, and launching."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from atc.ops.linkage import METHODS, dendrogram, labels
from atc.ops.linkage.cuda import binaries, launch, memory, program
from atc.ops.linkage.cuda import bindings as found
from tests.ops.emulation import assert_equals, compile_emulation
from tests.reference.distances import batch, thirds

needs_nvrtc = pytest.mark.skipif(found.bindings() is None, reason="cuda-bindings or NVRTC are not installed")


KERNELS = pytest.mark.parametrize("source", [binaries.BLOCK, binaries.GRID, binaries.TREE])


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Binaries are compiled once a session, into a directory of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATC_CACHE", str(tmp_path_factory.mktemp("binaries")))
        yield


def registers_of(binary):
    return int(re.search(r"Used (\d+) registers", binary.report)[1])


@needs_nvrtc
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_compiles_for_hopper_without_spills(method, dtype):
    binary = binaries.compiled((9, 0), binaries.BLOCK, method, dtype)
    assert binary.image.startswith(b"\x7fELF")
    assert "Compiling entry function 'atc_linkage' for 'sm_90'" in binary.report
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in binary.report
    assert registers_of(binary) * launch.THREADS_ALONE <= 65536  # all that a multiprocessor has
    assert "warning" not in binary.report


@needs_nvrtc
@pytest.mark.parametrize(
    ("method", "dtype"),
    [("average", torch.float32)]
    + [
        pytest.param(method, dtype, marks=pytest.mark.slow)
        for method in METHODS
        for dtype in (torch.float32, torch.float64)
    ],
)
def test_the_kernel_in_device_memory_compiles_for_hopper(method, dtype):
    binary = binaries.compiled((9, 0), binaries.GRID, method, dtype)
    assert registers_of(binary) * launch.THREADS_GRID <= 65536
    assert "warning" not in binary.report


@needs_nvrtc
@pytest.mark.slow
@KERNELS
@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0)])
def test_compiles_for_every_generation(capability, source):
    """Before 8.0 a warp could not find a minimum in one instruction."""
    for method in METHODS:
        binary = binaries.compiled(capability, source, method, torch.float32)
        assert f"'sm_{capability[0]}{capability[1]}'" in binary.report
        assert registers_of(binary) * 1024 <= 65536


@needs_nvrtc
@KERNELS
def test_compiles_for_older_and_for_younger_gpus(source):
    assert found.supports((9, 0))
    assert not found.supports((2, 0))
    assert binaries.compiled((7, 5), source, "complete", torch.float32).image.startswith(b"\x7fELF")
    unknown = binaries.compiled((99, 0), source, "ward", torch.float32).image
    assert b".entry atc_linkage" in unknown  # assembly language, for its driver to compile
    assert (b"div.rn.f64" in unknown) == (source != binaries.TREE)
    assert b"fma.rn.f64" not in unknown  # it would round otherwise than the oracle


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "method"), [(binaries.GRID, "average"), (binaries.GRID, "ward"), (binaries.TREE, "single")]
)
def test_no_innermost_loop_reads_spilled_registers(source, method, tmp_path):
    """In device memory 64 registers do not hold everything: what is spilled must be read outside of the hot loops."""
    triton = pytest.importorskip("triton", reason="Triton brings the disassembler")
    (tmp_path / "kernel.cubin").write_bytes(binaries.compiled((9, 0), source, method, torch.float32).image)
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    done = subprocess.run([tool, "-sass", tmp_path / "kernel.cubin"], capture_output=True, text=True)
    found = re.findall(r"/\*([0-9a-f]{4,5})\*/\s+(.*?);", done.stdout)
    instructions = [(int(address, 16), text) for address, text in found]
    jumps = [(re.search(r"BRA.*?0x([0-9a-f]+)", text), address) for address, text in instructions]
    loops = [(int(jump[1], 16), address) for jump, address in jumps if jump and int(jump[1], 16) < address]
    innermost = [
        (first, last)
        for first, last in loops
        if not any((a, b) != (first, last) and first <= a and b <= last for a, b in loops)
    ]
    assert len(innermost) > 20, done.stderr
    for first, last in innermost:
        inside = [text for address, text in instructions if first <= address <= last]
        assert not any("LDL" in text or "STL" in text for text in inside), inside


def test_what_nvrtc_says_is_not_lost(monkeypatch, tmp_path):
    if found.bindings() is None:
        pytest.skip("cuda-bindings or NVRTC are not installed")
    (tmp_path / "kernel.cu").write_text("int main( {}")
    monkeypatch.setattr(binaries, "FOLDER", tmp_path)
    with pytest.raises(RuntimeError, match=r"could not compile the clustering kernel for sm_90: atc_linkage.cu\(1\)"):
        binaries.compiled.__wrapped__((9, 0), "kernel.cu", "average", torch.float32)


def launched():
    """What the test below runs in a process of its own, whose driver is an emulation: no line of it is a GPU's."""
    torch.cuda.init = lambda: None
    torch.cuda.get_device_capability = lambda device: (9, 0)
    torch.cuda.current_stream = lambda device: SimpleNamespace(cuda_stream=1)
    torch.Tensor.get_device = lambda tensor: 0
    kinds = {binaries.BLOCK: 0, binaries.GRID: 1, binaries.TREE: 1}
    binaries.compiled = lambda capability, source, method, dtype: binaries.Binary(
        bytes([binaries.METHOD[method], dtype == torch.float64, kinds[source]]), ""
    )
    for method in METHODS:
        for distance in (batch(30), thirds(batch(30))):
            tree = dendrogram(distance, 1, method, backend="reference")
            for keep in (12, 40):
                for source in (None, binaries.GRID):
                    answer = launch.cluster(distance, keep, method, want_merges=True, source=source)
                    assert_equals(answer, tree, min(keep, 30), f"{method} {distance.dtype} keep={keep} {source}")
                    assert torch.equal(
                        launch.cluster(distance.mT, keep, method, source=source).labels, tree.labels(keep)
                    )
        assert launch.cluster(distance[:0], 3, method).labels.shape == (0, 30)
        assert launch.cluster(distance[:, :0, :0], 3, method).labels.shape == (len(distance), 0)
    assert memory.most_tokens(program.shared_memory(0), "average", torch.float32) == 237
    with pytest.raises(RuntimeError, match="clustering on the GPU failed: CUDA_ERROR_INVALID_VALUE"):
        launch.cluster(
            torch.zeros(1, 300, 300), 3, "average", source=binaries.BLOCK
        )  # more shared memory than there is
    in_device_memory(batch(300, ["regions", "few_values", "duplicates"]))
    print("equal")


def in_device_memory(distance):
    """More tokens than fit: several blocks an image, in turns where memory is short, one where they may not wait."""

    def blocks(batch):
        shape = launch.shape_of(0, "average", torch.float32, 300, batch, None, False, True)
        return shape.blocks, shape.of_group

    expected = labels(distance, 70, "average")
    assert torch.equal(launch.cluster(distance, 70, "average").labels, expected)
    assert [blocks(3), blocks(1), blocks(40), blocks(500)] == [(30, 10), (10, 10), (120, 3), (132, 1)]
    launch.MOST_SCRATCH = 2 * memory.grid_bytes(300, "average", torch.float32)
    launch.shape_of.cache_clear()
    assert blocks(3) == (20, 10)
    assert torch.equal(launch.cluster(distance, 70, "average").labels, expected)
    os.environ["REFUSE_TOGETHER"] = "1"
    assert torch.equal(launch.cluster(distance, 70, "average").labels, expected)
    assert launch._refused == {0}
    assert torch.equal(launch.cluster(distance, 70, "average").labels, expected)


@needs_nvrtc
@pytest.mark.no_gpu
@pytest.mark.skipif(sys.platform != "linux", reason="emulates a driver of Linux")
def test_launches_through_the_driver_s_interface(tmp_path):
    compile_emulation(tmp_path / "libcuda.so.1", "-O0", "-fPIC", "-shared", source="driver.cpp")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "from tests.ops.test_linkage_cuda_host import launched; launched()"],
        cwd=root,
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "equal\n", done.stderr

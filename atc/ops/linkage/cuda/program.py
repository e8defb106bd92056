"""From the CUDA source beside this file to a kernel on a device: NVRTC and the driver, through ``cuda-bindings``.

PyTorch's CUDA wheels bring that package and NVRTC. Compiling needs no GPU, and takes about a second for each
linkage and input type, once a process.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch

FOLDER = Path(__file__).parent
METHOD = {"single": 0, "complete": 1, "average": 2, "ward": 3}
_INPUT = {torch.float32: "float", torch.float64: "double"}
_log = logging.getLogger(__name__)


class Binary(NamedTuple):
    """A compiled kernel, and what the assembler says of it."""

    image: bytes
    report: str


@cache
def bindings() -> tuple[Any, Any] | None:
    """The modules ``nvrtc`` and ``driver`` of cuda-bindings, or None (logged once) where they cannot be loaded."""
    try:
        if find_spec("cuda") is None or find_spec("cuda.bindings") is None:
            return None
        from cuda.bindings import driver, nvrtc

        nvrtc.nvrtcVersion()  # loads the library
    except (ImportError, RuntimeError, OSError) as error:
        _log.warning("cuda-bindings without its libraries, no cuda backend for clustering: %s", error)
        return None
    return nvrtc, driver


@cache
def supports(capability: tuple[int, int]) -> bool:
    """Whether NVRTC has not yet given up GPUs of a compute capability."""
    found = bindings()
    return found is not None and _arch(capability) >= min(_checked(found[0].nvrtcGetSupportedArchs()))


@cache
def compiled(capability: tuple[int, int], method: str, dtype: torch.dtype) -> Binary:
    """Machine code for GPUs of a compute capability.

    Args:
        capability: (9, 0) for an H100 or H200.
        method: single, complete, average or ward.
        dtype: of the distances, float32 or float64.

    Raises:
        RuntimeError: no cuda-bindings, or NVRTC refuses, with its log.
    """
    found = bindings()
    if found is None:
        raise RuntimeError("compiling for a GPU needs the cuda-bindings package and NVRTC")
    nvrtc, _ = found
    arch = _arch(capability)
    newest = max(_checked(nvrtc.nvrtcGetSupportedArchs()))
    # A GPU younger than NVRTC gets assembly language, which its driver compiles.
    target = f"sm_{arch}" if arch <= newest else f"compute_{newest}"
    headers = sorted(FOLDER.glob("*.h"))
    program = _checked(
        nvrtc.nvrtcCreateProgram(
            (FOLDER / "kernel.cu").read_bytes(),
            b"atc_linkage.cu",
            len(headers),
            [header.read_bytes() for header in headers],
            [header.name.encode() for header in headers],
        )
    )
    options = [
        f"--gpu-architecture={target}",
        "--std=c++17",
        "--fmad=false",
        f"-DATC_METHOD={METHOD[method]}",
        f"-DATC_INPUT={_INPUT[dtype]}",
        "--ptxas-options=-v",
    ]
    try:
        status = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])[0]
        report = _read(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).decode(errors="replace")
        report = re.sub(r"\n\s*\n", "\n", report).strip("\0\n ")
        if int(status):
            raise RuntimeError(f"NVRTC could not compile the clustering kernel for {target}: {report}")
        if target.startswith("sm_"):
            image = _read(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        else:
            image = _read(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program)
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return Binary(image, report)


def _arch(capability: tuple[int, int]) -> int:
    return 10 * capability[0] + capability[1]


def _read(size_of: Callable[[Any], Any], get: Callable[[Any, bytes], Any], program: Any) -> bytes:
    size = _checked(size_of(program))
    buffer = bytes(size + 1)  # written to; Python shares bytes of length one
    _checked(get(program, buffer))
    return buffer[:size]


class Loaded(NamedTuple):
    """A kernel on one device. ``library`` must outlive it."""

    function: Any
    context: Any
    library: Any


@cache
def loaded(device: int, method: str, dtype: torch.dtype) -> Loaded:
    """The kernel in the device's primary context, which PyTorch uses; allowed all the shared memory there is."""
    found = bindings()
    assert found is not None
    _, driver = found
    torch.cuda.init()
    context = _checked(driver.cuDevicePrimaryCtxRetain(_checked(driver.cuDeviceGet(device))))
    image = compiled(torch.cuda.get_device_capability(device), method, dtype).image
    _checked(driver.cuCtxPushCurrent(context))
    try:
        library = _checked(driver.cuModuleLoadData(image))
        function = _checked(driver.cuModuleGetFunction(library, b"atc_linkage"))
        attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        _checked(driver.cuFuncSetAttribute(function, attribute, shared_memory(device)))
    finally:
        _checked(driver.cuCtxPopCurrent())
    return Loaded(function, context, library)


@cache
def shared_memory(device: int) -> int:
    """Bytes of shared memory that one block may have."""
    found = bindings()
    assert found is not None
    _, driver = found
    torch.cuda.init()
    attribute = driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    return int(_checked(driver.cuDeviceGetAttribute(attribute, _checked(driver.cuDeviceGet(device)))))


def launch(kernel: Loaded, blocks: int, threads: int, shared: int, stream: int, parameters: int) -> None:
    """Queue the kernel on a stream; ``parameters`` is the address of the array of addresses of its parameters."""
    found = bindings()
    assert found is not None
    _, driver = found
    _checked(driver.cuCtxPushCurrent(kernel.context))  # a thread that PyTorch has not used has none
    try:
        _checked(driver.cuLaunchKernel(kernel.function, blocks, 1, 1, threads, 1, 1, shared, stream, parameters, 0))
    finally:
        _checked(driver.cuCtxPopCurrent())


def _checked(answer: tuple[Any, ...]) -> Any:
    """The value of a call of cuda-bindings, which returns its status first."""
    status, *values = answer
    if int(status):
        raise RuntimeError(f"clustering on the GPU failed: {status.name}")
    return values[0] if values else None

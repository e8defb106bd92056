"""A kernel on a device: loaded once a process, launched through the driver."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch

from atc.ops.linkage.cuda import binaries
from atc.ops.linkage.cuda.bindings import checked, driver

# What a launch whose blocks wait for each other is refused with, where not all of them could run at once.
_NOT_TOGETHER = ("CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", "CUDA_ERROR_NOT_SUPPORTED", "CUDA_ERROR_NOT_PERMITTED")


class Loaded(NamedTuple):
    """A kernel on one device. ``library`` must outlive it."""

    function: Any
    context: Any
    library: Any


@cache
def loaded(device: int, source: str, method: str, dtype: torch.dtype) -> Loaded:
    """The kernel in the device's primary context, which PyTorch uses; allowed all the shared memory there is."""
    driver_ = driver()
    torch.cuda.init()
    context = checked(driver_.cuDevicePrimaryCtxRetain(checked(driver_.cuDeviceGet(device))))
    image = binaries.compiled(capability(device), source, method, dtype).image
    checked(driver_.cuCtxPushCurrent(context))
    try:
        library = checked(driver_.cuModuleLoadData(image))
        function = checked(driver_.cuModuleGetFunction(library, b"atc_linkage"))
        if source == binaries.BLOCK:
            attribute = driver_.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            checked(driver_.cuFuncSetAttribute(function, attribute, shared_memory(device)))
    finally:
        checked(driver_.cuCtxPopCurrent())
    return Loaded(function, context, library)


@cache
def capability(device: int) -> tuple[int, int]:
    """(9, 0) for an H100 or H200."""
    return torch.cuda.get_device_capability(device)


def shared_memory(device: int) -> int:
    """Bytes of shared memory that one block may have."""
    return _attribute(device, "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN")


@cache
def blocks_at_once(device: int, source: str, method: str, dtype: torch.dtype, threads: int) -> int:
    """How many blocks of a kernel may wait for each other: one a multiprocessor, 0 where there is no such launch."""
    if not _attribute(device, "COOPERATIVE_LAUNCH"):
        return 0
    kernel, driver_ = loaded(device, source, method, dtype), driver()
    checked(driver_.cuCtxPushCurrent(kernel.context))
    try:
        fit = checked(driver_.cuOccupancyMaxActiveBlocksPerMultiprocessor(kernel.function, threads, 0))
    finally:
        checked(driver_.cuCtxPopCurrent())
    return min(int(fit), 1) * multiprocessors(device)


def multiprocessors(device: int) -> int:
    """How many blocks work at a time, if each fills a multiprocessor."""
    return _attribute(device, "MULTIPROCESSOR_COUNT")


@cache
def _attribute(device: int, name: str) -> int:
    driver_ = driver()
    torch.cuda.init()
    attribute = getattr(driver_.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
    return int(checked(driver_.cuDeviceGetAttribute(attribute, checked(driver_.cuDeviceGet(device)))))


def launch(
    kernel: Loaded, blocks: int, threads: int, shared: int, stream: int, parameters: int, *, together: bool = False
) -> bool:
    """Queue a kernel on a stream.

    Args:
        kernel: the kernel.
        blocks: of the launch.
        threads: of a block.
        shared: bytes of shared memory of a block.
        stream: PyTorch's handle.
        parameters: the address of the array of addresses of its parameters, which are copied.
        together: its blocks wait for each other, so all must run at once.

    Returns:
        True; False if the blocks cannot run all at once, and nothing was queued.

    Raises:
        RuntimeError: the driver refuses for another reason.
    """
    driver_ = driver()
    checked(driver_.cuCtxPushCurrent(kernel.context))  # a thread that PyTorch has not used has none
    shape = (blocks, 1, 1, threads, 1, 1, shared, stream, parameters)
    try:
        if not together:
            checked(driver_.cuLaunchKernel(kernel.function, *shape, 0))
            return True
        answer = driver_.cuLaunchCooperativeKernel(kernel.function, *shape)
        if answer[0].name in _NOT_TOGETHER:
            return False
        checked(answer)
        return True
    finally:
        checked(driver_.cuCtxPopCurrent())

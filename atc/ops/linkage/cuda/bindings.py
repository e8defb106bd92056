"""``cuda-bindings``, which PyTorch's CUDA wheels bring with NVRTC: whether it is there, and its answers."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec
from typing import Any

_log = logging.getLogger(__name__)


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


def driver() -> Any:
    """The module ``driver``, where it is known to be there."""
    found = bindings()
    assert found is not None
    return found[1]


@cache
def supports(capability: tuple[int, int]) -> bool:
    """Whether NVRTC compiles for GPUs of a compute capability."""
    return bindings() is not None and arch(capability) >= min(_archs())


def newest_arch() -> int:
    """The newest architecture that NVRTC makes machine code for."""
    return max(_archs())


@cache
def _archs() -> tuple[int, ...]:
    found = bindings()
    assert found is not None
    return tuple(checked(found[0].nvrtcGetSupportedArchs()))


def arch(capability: tuple[int, int]) -> int:
    """90 for (9, 0)."""
    return 10 * capability[0] + capability[1]


def checked(answer: tuple[Any, ...], *, several: bool = False) -> Any:
    """The value of a call of cuda-bindings, which returns its status first; all of them if there are ``several``.

    Raises:
        RuntimeError: naming the status, if it is not success.
    """
    status, *values = answer
    if int(status):
        raise RuntimeError(f"clustering on the GPU failed: {status.name}")
    return tuple(values) if several else values[0] if values else None

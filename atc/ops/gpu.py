"""Whether kernels that Triton compiles can read a tensor."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor


def triton_reads(*tensors: Tensor | None, dtypes: tuple[torch.dtype, ...]) -> bool:
    """Whether all of these are on a GPU and of one of these dtypes, and Triton is there.

    Args:
        tensors: at least one; None stands for a tensor that there is not.
        dtypes: those that the kernel has.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    return all(tensor.device.type == "cuda" and tensor.dtype in dtypes for tensor in given) and has_triton()


@cache
def has_triton() -> bool:
    """Whether the package is installed."""
    return find_spec("triton") is not None
